#include "jobs/chain.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <map>

#include "base/error.hpp"
#include "base/files/publish.hpp"
#include "base/quoted.hpp"
#include "checkpoints/run_folder.hpp"
#include "checkpoints/shipped_model.hpp"
#include "data/token_dataset.hpp"
#include "training/lineage.hpp"

namespace ulmpi {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// What a stage refuses names the stage.
template <class Body>
auto of_stage(const std::string& command, Body body) {
    try {
        return body();
    } catch (const UsageError& refusal) {
        throw UsageError(command + ": " + refusal.what());
    }
}

template <class Request>
ConfiguredStage configured(const std::string& command, Request request, const std::vector<std::string>& arguments) {
    request.table.parse(arguments);
    const StageOptions& o = request.options;
    return {command,
            o.run.run,
            o.init_from,
            request.table.given_ini(),
            request.table.json(),
            o.layout.tensor_parallel * o.layout.pipeline_parallel,
            !request.options.valid.empty(),
            request};
}

ConfiguredStage classifier_stage(const std::vector<std::string>& arguments) {
    ConfiguredStage stage = configured("finetune classifier", ClassifierRequest(), arguments);
    stage.evaluates = stage.evaluates || stage.options["test"] != "";
    return stage;
}

// So that runs/one, ./runs/one/ and a link to it are the same.
std::string place_of(const std::string& path) {
    std::string place = fs::weakly_canonical(fs::absolute(path)).string();
    while (place.size() > 1 && place.ends_with('/')) place.pop_back();
    return place;
}

// A run that is still to be trained, as what begins with it will find it.
CheckpointFacts to_be_trained(const std::string& run, const char* kind, const ModelConfig& model) {
    return {run, 0, {.kind = kind, .model = model}};
}

// Checks all that can be checked before files are read; the shape of its model, if that is known.
std::optional<ModelConfig> checked_shape(const ConfiguredStage& stage, const std::optional<ModelConfig>& parent) {
    Facts facts{.ranks = stage.ranks_of_model};
    if (parent) facts.source = to_be_trained(stage.init_from, language_model_kind, *parent);
    const auto shape = [&](const auto& asked) {
        const auto all = settled(asked, facts);
        return model_of(all.table, all.options, facts);
    };
    return of_stage(stage.command, [&] { return std::visit(shape, stage.request); });
}

/// A stage as those after it see it.
struct KnownStage {
    CheckpointFacts checkpoint;
    std::string tokenizer_json;
};
KnownStage known(const std::string& path, const CheckpointInfo& info) {
    return {facts_of(path, info), info.tokenizer_json};
}

struct ResolvedStage {
    nlohmann::json lineage;
    KnownStage to_come;  // as its run will be
};

ResolvedStage resolved(const LanguageModelRequest& asked, Facts facts, std::optional<Tokenizer>) {
    read_inputs(asked, facts);
    const LanguageModelSpec spec = resolve(asked, facts);
    return {lineage_of(spec),
            {to_be_trained(spec.run.run, language_model_kind, spec.model),
             TokenDataset(spec.data, SealCheck::length).tokenizer_json()}};
}

ResolvedStage resolved(const ClassifierRequest& asked, Facts facts, std::optional<Tokenizer> tokenizer) {
    read_inputs(asked, facts, tokenizer);
    const ClassifierSpec spec = resolve(asked, facts);
    return {lineage_of(spec), {to_be_trained(spec.run.run, classifier_kind, spec.model), ""}};
}

ResolvedStage resolved(const ConfiguredStage& stage, const KnownStage* parent) {
    Facts facts{.ranks = stage.ranks_of_model};
    std::optional<Tokenizer> tokenizer;
    if (parent != nullptr) {
        tokenizer = Tokenizer::from_json(parent->tokenizer_json, stage.init_from);
        facts.source = parent->checkpoint;
        facts.tokenizer = facts_of(*tokenizer);
    }
    return of_stage(stage.command, [&] {
        return std::visit([&](const auto& asked) { return resolved(asked, facts, tokenizer); }, stage.request);
    });
}

bool is_complete(const ConfiguredStage& stage, const RunRecord& record) {
    return record.saved && record.saved->complete &&
           (!stage.evaluates || holds_evaluation(fs::path(stage.run) / "metrics.jsonl", record.saved->progress.step,
                                                 stage.options.value("early-stop", 0) > 0));
}

}  // namespace

std::vector<ConfiguredStage> stages_of_file(const std::string& config) {
    const std::vector<std::string> sections = sections_of_file(config), arguments{"--config", config};
    const auto has = [&](const char* section) {
        return std::find(sections.begin(), sections.end(), section) != sections.end();
    };
    std::vector<ConfiguredStage> stages;
    if (has("pretrain")) stages.push_back(configured("pretrain", LanguageModelRequest(pretraining()), arguments));
    if (has("finetune.lm"))
        stages.push_back(configured("finetune lm", LanguageModelRequest(domain_training()), arguments));
    if (has("finetune.classifier")) stages.push_back(classifier_stage(arguments));
    check_usage(!stages.empty(), "{} has no section [pretrain], [finetune.lm] or [finetune.classifier]", config);

    struct Place {
        std::string command;
        std::optional<ModelConfig> shape;
    };
    std::map<std::string, Place> places;  // of the stages before
    for (const ConfiguredStage& stage : stages) {
        const auto parent = stage.init_from.empty() ? places.end() : places.find(place_of(stage.init_from));
        std::error_code failure;
        check_usage(stage.init_from.empty() || parent != places.end() || fs::exists(stage.init_from, failure) ||
                        find_shipped_model(stage.init_from),
                    "{} begins with {}, which is not there, nor is it the run of a stage before it in {}, "
                    "nor a model that comes with the program",
                    stage.command, stage.init_from, config);
        const Place here{stage.command,
                         checked_shape(stage, parent == places.end() ? std::nullopt : parent->second.shape)};
        const auto [at, is_new] = places.try_emplace(place_of(stage.run), here);
        check_usage(is_new, "{} and {} both work in {}: give each a --run of its own", at->second.command,
                    stage.command, stage.run);
    }
    return stages;
}

std::vector<StageState> states_of(const std::vector<ConfiguredStage>& stages, const Communicator& world) {
    std::vector<StageState> states;
    std::map<std::string, KnownStage> places;  // of the stages before
    for (const ConfiguredStage& stage : stages) {
        std::optional<KnownStage> parent;
        if (!stage.init_from.empty()) {
            if (const auto before = places.find(place_of(stage.init_from)); before != places.end())
                parent = before->second;
            else
                parent = known(stage.init_from, read_checkpoint_info(resolve_checkpoint(stage.init_from), world));
        }
        const bool parent_to_come = parent && parent->checkpoint.fingerprint == 0;
        ResolvedStage now = resolved(stage, parent ? &*parent : nullptr);

        StageState& state = states.emplace_back();
        const RunFolder::Found found = RunFolder(stage.run).newest_verified(world);
        check_usage(found.checkpoint || found.passed_over.empty(), "{} has checkpoints, but none can be used: {}",
                    stage.run, fmt::join(found.passed_over, "; "));
        if (found.checkpoint) {
            const CheckpointInfo info = read_checkpoint_info(*found.checkpoint, world, true);
            const RunRecord record = record_of(*found.checkpoint, info);
            if (record.saved) state.step = record.saved->progress.step;
            state.changes = lineage_changes(record.lineage, now.lineage);
            if (parent_to_come) state.changes = {"its parent " + stage.init_from + " is trained first"};
            state.need = !state.changes.empty()       ? StageState::Need::other_inputs
                         : is_complete(stage, record) ? StageState::Need::nothing
                                                      : StageState::Need::the_rest;
            if (state.need == StageState::Need::nothing) now.to_come = known(found.checkpoint->string(), info);
        }
        places.insert_or_assign(place_of(stage.run), std::move(now.to_come));
    }
    return states;
}

std::optional<ChainRecord> ChainRecord::load(const fs::path& folder) {
    const fs::path path = folder / "chain.json";
    std::ifstream file(path);
    if (!file) return std::nullopt;
    try {
        const json stored = json::parse(file);
        ChainRecord record{stored.at("config"), {}, stored.value("working_folder", "")};
        for (const json& stage : stored.at("stages"))
            record.stages.push_back({stage.at("command"), stage.at("run"), stage.at("job"), stage.at("script"),
                                     stage.at("log"), stage.at("evaluates")});
        return record;
    } catch (const json::exception&) {
        throw UsageError(quoted(path) + " is not what ulmpi submit writes: remove it, or give another --jobs");
    }
}

void ChainRecord::save(const fs::path& folder) const {
    json stored{{"config", config}, {"working_folder", working_folder}, {"stages", json::array()}};
    for (const Stage& stage : stages)
        stored["stages"].push_back({{"command", stage.command},
                                    {"run", stage.run},
                                    {"job", stage.job},
                                    {"script", stage.script},
                                    {"log", stage.log},
                                    {"evaluates", stage.evaluates}});
    write_file(folder / "chain.json", stored.dump(1) + "\n");
}

}  // namespace ulmpi
