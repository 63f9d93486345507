#include "finetune/chain.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "checkpoints/run_folder.hpp"
#include "data/publish.hpp"
#include "data/quoted.hpp"
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
    return configured(stage.command, table, o);
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
    return stage;
}

// So that runs/one, ./runs/one/ and a link to it are the same.
std::string place_of(const std::string& path) {
    std::string place = fs::weakly_canonical(fs::absolute(path)).string();
    while (place.size() > 1 && place.ends_with('/')) place.pop_back();
    return place;
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

    std::map<std::string, std::string> places;  // of the stages before
    for (const ConfiguredStage& stage : stages) {
        std::error_code failure;
        check_usage(stage.init_from.empty() || places.contains(place_of(stage.init_from)) ||
                        fs::exists(stage.init_from, failure),
                    fmt::format("{} begins with {}, which is not there, nor is it the run of a stage before it in {}",
                                stage.command, stage.init_from, config));
        const auto [at, is_new] = places.try_emplace(place_of(stage.run), stage.command);
        check_usage(is_new, fmt::format("{} and {} both work in {}: give each a --run of its own", at->second,
                                        stage.command, stage.run));
    }
    return stages;
}

std::vector<StageState> states_of(const std::vector<ConfiguredStage>& stages, const Communicator& world) {
    std::vector<StageState> states;
    for (const ConfiguredStage& stage : stages) {
        // The weights that it begins with, and whether they are still to be made.
        std::optional<std::uint64_t> parent;
        bool parent_to_come = false;
        for (std::size_t before = 0; before < states.size(); ++before)
            if (!stage.init_from.empty() && place_of(stages[before].run) == place_of(stage.init_from)) {
                parent = states[before].model;
                parent_to_come = !parent;
            }
        if (!stage.init_from.empty() && !parent && !parent_to_come)
            parent = model_fingerprint(read_checkpoint_info(resolve_checkpoint(stage.init_from), world));
        const json now =
            lineage_of(stage.command, stage.options, parent_to_come ? std::optional<std::uint64_t>(0) : parent);

        StageState& state = states.emplace_back();
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
        ChainRecord record{stored.at("config"), {}};
        for (const json& stage : stored.at("stages"))
            record.stages.push_back({stage.at("command"), stage.at("run"), stage.at("job"), stage.at("script"),
                                     stage.at("log"), stage.at("evaluates")});
        return record;
    } catch (const json::exception&) {
        throw UsageError(quoted(path) + " is not what ulmpi submit writes: remove it, or give another --jobs");
    }
}

void ChainRecord::save(const fs::path& folder) const {
    json stored{{"config", config}, {"stages", json::array()}};
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
