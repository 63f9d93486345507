#include "pretrain/lineage.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>

#include "data/file_seal.hpp"
#include "data/fingerprint.hpp"
#include "data/quoted.hpp"
#include "data/token_dataset.hpp"
#include "parallel/error.hpp"
#include "parallel/run_main.hpp"
#include "pretrain/training_options.hpp"

namespace ulmpi {
namespace {

using nlohmann::json;

// Paths that stand for what lies there.
constexpr std::array<const char*, 5> inputs{"data", "train", "valid", "test", "tokenizer"};

// They say where a run lives, what it writes, and how the ranks share the work: nothing of what is learned.
constexpr std::array<std::string_view, 16> of_the_job{"run",
                                                      "resume",
                                                      "init-from",
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
                                                      "micro-batch-size",
                                                      "threads-per-rank"};

std::string hexadecimal(std::uint64_t value) { return fmt::format("{:016x}", value); }

void compare(const std::string& name, const json& before, const json& now, std::vector<std::string>& changes) {
    if (before == now) return;
    const auto text = [](const json& value) {
        return value.is_null() ? std::string("nothing") : value.is_string() ? value.get<std::string>() : value.dump();
    };
    changes.push_back(fmt::format("{} is {}, was {}", name, text(now), text(before)));
}

}  // namespace

std::uint64_t model_fingerprint(const CheckpointInfo& info) {
    Fingerprint fingerprint;
    fingerprint.add(info.metadata.value("model", json()).dump());
    fingerprint.add(info.tokenizer_json);
    for (const TensorInfo& tensor : info.tensors) {
        fingerprint.add(tensor.name);
        for (std::uint64_t extent : tensor.shape) fingerprint.add(extent);
        fingerprint.add(tensor.crc32);
    }
    return fingerprint.value();
}

std::uint64_t shards_fingerprint(const std::filesystem::path& shards) {
    const TokenDataset dataset(shards, SealCheck::length);
    Fingerprint fingerprint;
    for (std::size_t shard = 0; shard < dataset.shard_count(); ++shard) {
        const Seal seal = read_seal(dataset.shard_path(shard), token_shard_kind);
        fingerprint.add(seal.bytes);
        fingerprint.add(seal.crc32);
    }
    return fingerprint.value();
}

std::uint64_t file_fingerprint(const std::filesystem::path& file) {
    std::error_code failure;
    check_usage(std::filesystem::is_regular_file(file, failure), "there is no file " + quoted(file));
    const std::uint64_t bytes = std::filesystem::file_size(file);
    Fingerprint fingerprint;
    fingerprint.add(bytes);
    fingerprint.add(crc32_of_file(file, 0, bytes));
    return fingerprint.value();
}

json lineage_of(const std::string& command, const json& options, std::optional<std::uint64_t> parent) {
    json lineage{{"command", command}, {"parent", nullptr}, {"options", options}, {"inputs", json::object()}};
    if (parent) lineage["parent"] = hexadecimal(*parent);
    json& kept = lineage["options"];
    const bool reads_shards = options.contains("data");
    for (const char* name : inputs) {
        const std::string path = options.contains(name) ? options[name].get<std::string>() : "";
        if (!path.empty())
            lineage["inputs"][name] = hexadecimal(reads_shards ? shards_fingerprint(path) : file_fingerprint(path));
        kept.erase(name);
    }
    // Statistics over a micro-batch are the one thing that depends on its size.
    const bool batch_norm = options.value("head-normalization", "") == "batchnorm";
    for (std::string_view name : of_the_job)
        if (!(batch_norm && name == "micro-batch-size")) kept.erase(std::string(name));
    if (parent)
        for (const std::string& name : shape_options()) kept.erase(name);
    return lineage;
}

json run_lineage(const std::string& command, const json& options, const StoredModel* source, bool resumed,
                 const Communicator& world) {
    return together(world, [&] {
        if (world.rank() != 0) return json();
        if (!resumed)
            return lineage_of(command, options,
                              source != nullptr ? std::optional(model_fingerprint(source->info)) : std::nullopt);
        const json before = source->info.metadata.value("lineage", json::object());
        std::optional<std::uint64_t> parent;
        if (const json stored = before.value("parent", json()); stored.is_string())
            parent = std::strtoull(stored.get<std::string>().c_str(), nullptr, 16);
        json now = lineage_of(command, options, parent);
        for (const char* name : {"data", "train"})
            if (const json then = before.value("inputs", json::object()).value(name, json()); !then.is_null())
                check_usage(now["inputs"].value(name, json()) == then,
                            fmt::format("--{} {} holds other data than the run began with: give it those, or another "
                                        "--run",
                                        name, options.value(name, "")));
        return now;
    });
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
