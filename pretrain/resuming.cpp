#include "pretrain/resuming.hpp"

#include <fmt/format.h>

#include "checkpoints/checkpoint.hpp"

namespace ulmpi {

std::string command_to_go_on(const RunOptions& run) {
    return run.resume == "auto" ? "the same command" : "the same command with --resume auto";
}

Progress start_from(const RunSpec& run, RankModel& model, const VocabularyMap* vocabulary) {
    if (run.resumed) {
        load_checkpoint(run.source->path, model.store,
                        {model.optimizer->first_moments(), model.optimizer->second_moments()}, model.topology,
                        {.verified = true});
        const nlohmann::json& stored = run.source->metadata.at("progress");
        stored.at("updates_by_group").get_to(model.optimizer->updates_by_group());
        const Progress progress = progress_from(stored);
        if (model.topology.all.rank() == 0)
            fmt::print(stderr, "going on from {} (step {})\n", run.source->path, progress.step);
        return progress;
    }
    model.store.initialize(run.training.seed);
    LoadPolicy weights{.moments = false, .verified = true, .vocabulary = vocabulary};
    if (run.head) weights.may_be_new = [](const std::string& name) { return name.starts_with("classifier."); };
    if (run.source) load_checkpoint(run.source->path, model.store, {}, model.topology, weights);
    return {};
}

}  // namespace ulmpi
