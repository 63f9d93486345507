#include "checkpoints/ensemble.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <iterator>

#include "base/error.hpp"
#include "base/quoted.hpp"
#include "checkpoints/checkpoint.hpp"
#include "checkpoints/run_record.hpp"
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

    void check_all(const RunRecord& mine, const RunRecord& firsts) const {
        require(info_.tokenizer_json == first_.tokenizer_json, "another tokenizer");
        check_values(to_json(*mine.classifier), to_json(*firsts.classifier));
        check_values(to_json(*mine.model), to_json(*firsts.model));
        require(info_.tensors.size() == first_.tensors.size(), "other weights");
        for (std::size_t t = 0; t < info_.tensors.size(); ++t)
            require(
                info_.tensors[t].name == first_.tensors[t].name && info_.tensors[t].shape == first_.tensors[t].shape,
                fmt::format("{} in another shape", info_.tensors[t].name));
        require(info_.wide.model == first_.wide.model,
                "another model of words, trained into it by --wide-features: leave that off");
    }

private:
    void check_values(const json& of_mine, const json& of_first) const {
        const json mine = without_dropout(of_mine), firsts = without_dropout(of_first);
        json names = firsts;
        names.update(mine);
        for (const auto& [name, value] : names.items())
            require(
                mine.value(name, json()) == firsts.value(name, json()),
                fmt::format("{} {}, not {}", name, mine.value(name, json()).dump(), firsts.value(name, json()).dump()));
    }
    void require(bool same, const std::string& difference) const {
        check_usage(same, "{} cannot be averaged with {}: it has {}", quoted(file_), quoted(first_file_), difference);
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
    const RunRecord of_first = record_of(members.front(), first);
    std::vector<WeightSource> weights;
    EnsembleRecord ensemble{members.size(), mix.network, mix.words};
    for (const std::filesystem::path& file : members) {
        const CheckpointInfo info = read_checkpoint_info(file);
        const RunRecord record = record_of(file, info);
        check_usage(record.classifier && record.model, "{} holds no classifier; ulmpi finetune classifier makes one",
                    quoted(file));
        check_usage(!record.ensemble, "{} is an ensemble already: name the runs that it was made of", quoted(file));
        Comparison(members.front(), first, file, info).check_all(record, of_first);
        const std::string prefix = member_prefix(ensemble.of.size());
        ensemble.of.push_back({file.string()});
        if (record.saved) ensemble.of.back().step = record.saved->progress.step;
        std::ranges::move(weights_of(file, prefix), std::back_inserter(weights));
    }
    check(mix.model_of_words.empty() || first.wide.empty(), "members with wide features are stacked with other words");
    const WideContent words{mix.model_of_words.empty() ? first.wide.model : mix.model_of_words, {}};
    write_weights(to, as_ensemble(first.metadata, ensemble), first.tokenizer_json, words, weights, precision);
}

}  // namespace ulmpi
