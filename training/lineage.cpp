#include "training/lineage.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <string_view>

#include "base/error.hpp"
#include "training/training_options.hpp"

namespace ulmpi {
namespace {

using nlohmann::json;

// Paths that stand for what lies there.
constexpr std::array<const char*, 7> inputs{"data",      "train",        "valid",       "test",
                                            "tokenizer", "distill-from", "distill-text"};

// They say where a run lives, what it writes, and how the ranks share the work: nothing of what is learned.
// A vocabulary is taken over where parent and data, which are told apart, differ in it.
constexpr std::array<std::string_view, 18> of_the_job{"run",
                                                      "resume",
                                                      "init-from",
                                                      "transfer-vocabulary",
                                                      "save-interval",
                                                      "save-mode",
                                                      "keep-last",
                                                      "keep-every",
                                                      "log-interval",
                                                      "eval-interval",
                                                      "walltime",
                                                      "profile",
                                                      "tensor-parallel-size",
                                                      "pipeline-parallel-size",
                                                      "pipeline-schedule",
                                                      "overlap-grad-reduce",
                                                      "micro-batch-size",
                                                      "threads-per-rank"};

// Options that came later, each with the value at which a run is what it was before there was a choice: runs of old
// keep their lineage.
const std::map<std::string, json>& came_later() {
    static const std::map<std::string, json> options{{"label-smoothing", 0.0}, {"ema", 0.0},
                                                     {"reinit-blocks", 0},     {"early-stop", 0},
                                                     {"distill-weight", 0.9},  {"architecture", "decoder"},
                                                     {"embedding-size", 0},    {"num-query-groups", 0}};
    return options;
}

std::string hexadecimal(std::uint64_t value) { return fmt::format("{:016x}", value); }
std::uint64_t from_hexadecimal(const std::string& text) { return std::strtoull(text.c_str(), nullptr, 16); }

void compare(const std::string& name, const json& before, const json& now, std::vector<std::string>& changes) {
    if (before == now) return;
    const auto text = [](const json& value) {
        return value.is_null() ? std::string("nothing") : value.is_string() ? value.get<std::string>() : value.dump();
    };
    changes.push_back(fmt::format("{} is {}, was {}", name, text(now), text(before)));
}

}  // namespace

json lineage_of(const RunSpec& run) {
    json lineage{{"command", run.command}, {"parent", nullptr}, {"options", run.options}, {"inputs", json::object()}};
    if (run.parent) lineage["parent"] = hexadecimal(*run.parent);
    for (const auto& [name, fingerprint] : run.inputs) lineage["inputs"][name] = hexadecimal(fingerprint);
    json& kept = lineage["options"];
    for (const char* name : inputs) kept.erase(name);
    // Statistics over a micro-batch are the one thing that depends on its size.
    const bool batch_norm = run.options.value("head-normalization", "") == "batchnorm";
    const bool stops_early = run.options.value("early-stop", 0) > 0;
    for (std::string_view name : of_the_job)
        if (!(batch_norm && name == "micro-batch-size") && !(stops_early && name == "eval-interval"))
            kept.erase(std::string(name));
    for (const auto& [name, as_before] : came_later())
        if (kept.value(name, json()) == as_before) kept.erase(name);
    kept.erase("recipe");  // what it stands for is among them
    if (run.parent)
        for (const std::string& name : shape_options()) kept.erase(name);
    return lineage;
}

std::optional<std::uint64_t> parent_of(const json& lineage) {
    const json parent = lineage.value("parent", json());
    if (!parent.is_string()) return std::nullopt;
    return from_hexadecimal(parent.get<std::string>());
}

std::uint64_t input_of(const json& lineage, const std::string& option) {
    return from_hexadecimal(lineage.value("inputs", json::object()).value(option, std::string("0")));
}

void check_same_data(const json& before, const RunSpec& now) {
    const json inputs_before = before.value("inputs", json::object());
    for (const auto& [name, fingerprint] : now.inputs)
        if (name == "data" || name == "train" || name == "distill-text")
            check_usage(inputs_before.value(name, hexadecimal(fingerprint)) == hexadecimal(fingerprint),
                        "--{} {} holds other data than the run began with: give it those, or another --run", name,
                        now.options.value(name, ""));
}

std::vector<std::string> lineage_changes(const json& before, const json& now) {
    std::vector<std::string> changes;
    compare("the command", before.value("command", json()), now.value("command", json()), changes);
    compare("the parent's fingerprint", before.value("parent", json()), now.value("parent", json()), changes);
    for (const char* part : {"options", "inputs"}) {
        const json old_ones = before.value(part, json::object()), new_ones = now.value(part, json::object());
        const std::string what = part == std::string_view("inputs") ? "the fingerprint of --" : "--";
        for (const auto& [name, value] : new_ones.items())
            compare(what + name, old_ones.value(name, json()), value, changes);
        for (const auto& [name, value] : old_ones.items())
            if (!new_ones.contains(name)) compare(what + name, value, json(), changes);
    }
    return changes;
}

}  // namespace ulmpi
