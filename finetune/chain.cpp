#include "finetune/chain.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <map>

#include "checkpoints/run_folder.hpp"
#include "checkpoints/shipped_model.hpp"
#include "data/publish.hpp"
#include "data/quoted.hpp"
#include "data/token_dataset.hpp"
#include "finetune/classifier.hpp"
#include "parallel/error.hpp"
#include "pretrain/language_model.hpp"
#include "pretrain/lineage.hpp"

namespace ulmpi {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

template <class Options>
ConfiguredStage configured(const std::string& command, const OptionTable& table, const Options& o) {
    check_run_options(o.run);
    return {command,           o.run.run,    o.init_from,
            table.given_ini(), table.json(), o.layout.tensor_parallel * o.layout.pipeline_parallel,
            !o.valid.empty()};
}

ConfiguredStage language_model_stage(const LanguageModelStage& stage, const std::vector<std::string>& arguments) {
    LanguageModelOptions o(stage);
    OptionTable table(stage.command, "");
    o.declare(table, stage);
    table.parse(arguments);
    const int lengths =
        int(o.training.steps.has_value()) + int(o.training.tokens.has_value()) + int(o.training.epochs.has_value());
    check_usage(lengths == 1,
                "give the length of " + stage.command + " by one of --train-steps, --train-tokens, --epochs");
    ConfiguredStage configuration = configured(stage.command, table, o);
    if (!stage.continues) configuration.shape = o.shape.resolved();
    return configuration;
}

ConfiguredStage classifier_stage(const std::vector<std::string>& arguments) {
    ClassifierStageOptions o;
    OptionTable table("finetune classifier", "");
    o.declare(table);
    table.parse(arguments);
    check_usage(o.init_from.empty() != o.tokenizer.empty(),
                "finetune classifier needs one of --init-from and --tokenizer (from scratch)");
    if (o.init_from.empty()) ClassifierStageOptions::take_defaults_of_scratch(table);
    ConfiguredStage stage = configured("finetune classifier", table, o);
    stage.evaluates = stage.evaluates || !o.test.empty();
    if (o.init_from.empty()) stage.shape = o.shape.resolved();
    return stage;
}

// So that runs/one, ./runs/one/ and a link to it are the same.
std::string place_of(const std::string& path) {
    std::string place = fs::weakly_canonical(fs::absolute(path)).string();
    while (place.size() > 1 && place.ends_with('/')) place.pop_back();
    return place;
}

void check_split(const ConfiguredStage& stage) {
    if (!stage.shape) return;
    ModelConfig shape = *stage.shape;
    shape.vocabulary = std::numeric_limits<std::size_t>::max();  // the tokenizer's, which is larger than any split
    try {
        check_layout(shape, stage.options["pipeline-parallel-size"].get<int>(),
                     stage.options["tensor-parallel-size"].get<int>());
    } catch (const UsageError& refusal) {
        throw UsageError(stage.command + ": " + refusal.what());
    }
}

// Of the shards that a stage reads, which are to be of the tokenizer that its parent has, if it is known. That of the
// model afterwards, if it is known.
std::optional<std::uint64_t> common_tokenizer(const ConfiguredStage& stage, std::optional<std::uint64_t> tokenizer) {
    if (!stage.options.contains("data")) return tokenizer;
    for (const char* name : {"data", "valid"}) {
        const std::string path = stage.options[name].get<std::string>();
        if (path.empty()) continue;
        const std::uint64_t own = TokenDataset(path, SealCheck::length).fingerprint();
        check_usage(!tokenizer || *tokenizer == own,
                    fmt::format("{}: {} was made with another tokenizer than {}: make its shards again with the same "
                                "tokenizer.json",
                                stage.command, path,
                                stage.init_from.empty() ? "the other shards" : "the model of " + stage.init_from));
        tokenizer = own;
    }
    return tokenizer;
}

bool is_complete(const ConfiguredStage& stage, const CheckpointInfo& info) {
    const json progress = info.metadata.value("progress", json::object());
    return progress.value("complete", false) &&
           (!stage.evaluates || holds_evaluation(fs::path(stage.run) / "metrics.jsonl", progress.value("step", 0u)));
}

}  // namespace

std::vector<ConfiguredStage> stages_of_file(const std::string& config) {
    const std::vector<std::string> sections = sections_of_file(config), arguments{"--config", config};
    const auto has = [&](const char* section) {
        return std::find(sections.begin(), sections.end(), section) != sections.end();
    };
    std::vector<ConfiguredStage> stages;
    if (has("pretrain")) stages.push_back(language_model_stage(pretraining(), arguments));
    if (has("finetune.lm")) stages.push_back(language_model_stage(domain_training(), arguments));
    if (has("finetune.classifier")) stages.push_back(classifier_stage(arguments));
    check_usage(!stages.empty(), config + " has no section [pretrain], [finetune.lm] or [finetune.classifier]");

    std::map<std::string, const ConfiguredStage*> places;  // of the stages before
    for (ConfiguredStage& stage : stages) {
        const auto parent = stage.init_from.empty() ? places.end() : places.find(place_of(stage.init_from));
        std::error_code failure;
        check_usage(stage.init_from.empty() || parent != places.end() || fs::exists(stage.init_from, failure) ||
                        find_shipped_model(stage.init_from),
                    fmt::format("{} begins with {}, which is not there, nor is it the run of a stage before it in {}, "
                                "nor a model that comes with the program",
                                stage.command, stage.init_from, config));
        if (parent != places.end()) stage.shape = parent->second->shape;
        const auto [at, is_new] = places.try_emplace(place_of(stage.run), &stage);
        check_usage(is_new, fmt::format("{} and {} both work in {}: give each a --run of its own", at->second->command,
                                        stage.command, stage.run));
        check_split(stage);
    }
    return stages;
}

std::vector<StageState> states_of(const std::vector<ConfiguredStage>& stages, const Communicator& world) {
    std::vector<StageState> states;
    for (const ConfiguredStage& stage : stages) {
        // The weights that it begins with, and whether they are still to be made.
        std::optional<std::uint64_t> parent, tokenizer;
        bool parent_to_come = false;
        for (std::size_t before = 0; before < states.size(); ++before)
            if (!stage.init_from.empty() && place_of(stages[before].run) == place_of(stage.init_from)) {
                parent = states[before].model;
                tokenizer = states[before].tokenizer;
                parent_to_come = !parent;
            }
        if (!stage.init_from.empty() && !parent && !parent_to_come) {
            const CheckpointInfo info = read_checkpoint_info(resolve_checkpoint(stage.init_from), world);
            parent = model_fingerprint(info);
            if (info.metadata.contains("tokenizer_fingerprint"))
                tokenizer = info.metadata["tokenizer_fingerprint"].get<std::uint64_t>();
        }
        tokenizer = common_tokenizer(stage, tokenizer);
        const json now =
            lineage_of(stage.command, stage.options, parent_to_come ? std::optional<std::uint64_t>(0) : parent);

        StageState& state = states.emplace_back();
        state.tokenizer = tokenizer;
        const RunFolder::Found found = RunFolder(stage.run).newest_verified(world);
        check_usage(
            found.checkpoint || found.passed_over.empty(),
            fmt::format("{} has checkpoints, but none can be used: {}", stage.run, fmt::join(found.passed_over, "; ")));
        if (!found.checkpoint) continue;
        const CheckpointInfo info = read_checkpoint_info(*found.checkpoint, world, true);
        state.step = info.metadata.value("progress", json::object()).value("step", std::uint64_t{0});
        state.changes = lineage_changes(info.metadata.value("lineage", json::object()), now);
        if (parent_to_come) state.changes = {"its parent " + stage.init_from + " is trained first"};
        state.need = !state.changes.empty()     ? StageState::Need::other_inputs
                     : is_complete(stage, info) ? StageState::Need::nothing
                                                : StageState::Need::the_rest;
        if (state.need == StageState::Need::nothing) state.model = model_fingerprint(info);
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
