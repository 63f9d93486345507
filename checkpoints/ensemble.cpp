#include "checkpoints/ensemble.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/error.hpp"
#include "base/quoted.hpp"
#include "checkpoints/checkpoint.hpp"
#include "checkpoints/format.hpp"
#include "checkpoints/slim.hpp"

namespace ulmpi {
namespace {

using nlohmann::json;

// What is not trained differs freely: rates of dropout.
json without_dropout(const json& values) {
    json rest = json::object();
    for (const auto& [name, value] : values.items())
        if (name.find("dropout") == std::string::npos) rest[name] = value;
    return rest;
}

/// A member beside the first.
class Comparison {
public:
    Comparison(const std::filesystem::path& first_file, const CheckpointInfo& first, const std::filesystem::path& file,
               const CheckpointInfo& info)
        : first_file_(first_file), first_(first), file_(file), info_(info) {}

    void check_all() const {
        require(info_.tokenizer_json == first_.tokenizer_json, "another tokenizer");
        for (const char* part : {"classifier", "model"}) check_values(part);
        require(info_.tensors.size() == first_.tensors.size(), "other weights");
        for (std::size_t t = 0; t < info_.tensors.size(); ++t)
            require(
                info_.tensors[t].name == first_.tensors[t].name && info_.tensors[t].shape == first_.tensors[t].shape,
                fmt::format("{} in another shape", info_.tensors[t].name));
        require(info_.wide.model == first_.wide.model,
                "another model of words, trained into it by --wide-features: leave that off");
    }

private:
    void check_values(const std::string& part) const {
        const json mine = without_dropout(info_.metadata.at(part)), firsts = without_dropout(first_.metadata.at(part));
        json names = firsts;
        names.update(mine);
        for (const auto& [name, value] : names.items())
            require(
                mine.value(name, json()) == firsts.value(name, json()),
                fmt::format("{} {}, not {}", name, mine.value(name, json()).dump(), firsts.value(name, json()).dump()));
    }
    void require(bool same, const std::string& difference) const {
        check_usage(same, fmt::format("{} cannot be averaged with {}: it has {}", quoted(file_), quoted(first_file_),
                                      difference));
    }

    const std::filesystem::path& first_file_;
    const CheckpointInfo& first_;
    const std::filesystem::path& file_;
    const CheckpointInfo& info_;
};

}  // namespace

std::string member_prefix(std::size_t member) { return fmt::format("member.{}/", member); }

void write_ensemble(const std::vector<std::filesystem::path>& members, const EnsembleMix& mix,
                    const std::filesystem::path& to, ElementType precision) {
    check_usage(!members.empty(), "an ensemble needs a member");
    const CheckpointInfo first = read_checkpoint_info(members.front());
    std::vector<WeightSource> weights;
    json of = json::array();
    for (const std::filesystem::path& file : members) {
        const CheckpointInfo info = read_checkpoint_info(file);
        check_usage(info.metadata.contains("classifier") && info.metadata.contains("model"),
                    quoted(file) + " holds no classifier; ulmpi finetune classifier makes one");
        check_usage(!info.metadata.contains(ensemble_key),
                    quoted(file) + " is an ensemble already: name the runs that it was made of");
        Comparison(members.front(), first, file, info).check_all();
        const json progress = info.metadata.value("progress", json::object());
        of.push_back({{"path", file.string()}, {"step", progress.value("step", json())}});
        std::ranges::move(weights_of(file, member_prefix(of.size() - 1)), std::back_inserter(weights));
    }
    check(mix.model_of_words.empty() || first.wide.empty(), "members with wide features are stacked with other words");
    json metadata = first.metadata;
    metadata.erase("progress");
    metadata[ensemble_key] = {{"members", members.size()}, {"network", mix.network}, {"words", mix.words}, {"of", of}};
    const WideContent words{mix.model_of_words.empty() ? first.wide.model : mix.model_of_words, {}};
    write_weights(to, metadata, first.tokenizer_json, words, weights, precision);
}

}  // namespace ulmpi
