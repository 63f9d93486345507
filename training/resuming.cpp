#include "training/resuming.hpp"

#include <fmt/format.h>

#include "checkpoints/checkpoint.hpp"

namespace ulmpi {

std::string command_to_go_on(const RunOptions& run) {
    return run.resume == "auto" ? "the same command" : "the same command with --resume auto";
}

Progress start_from(const RunSpec& run, RankModel& model, const VocabularyMap* vocabulary) {
    if (run.resumed) {
        load_checkpoint(run.source->path, model.store, model.moments(), model.topology, {.verified = true});
        const SavedProgress& saved = run.source->record.saved.value();
        model.optimizer->updates_by_group() = saved.updates_by_group;
        if (model.topology.all.rank() == 0)
            fmt::print(stderr, "going on from {} (step {})\n", run.source->path, saved.progress.step);
        return saved.progress;
    }
    model.store.initialize(run.training.seed);
    LoadPolicy weights{.moments = false, .verified = true, .vocabulary = vocabulary};
    if (run.head) weights.may_be_new = [](const std::string& name) { return name.starts_with("classifier."); };
    if (run.source) load_checkpoint(run.source->path, model.store, {}, model.topology, weights);
    const int last = static_cast<int>(run.model.layers), fresh = static_cast<int>(run.fresh_blocks);
    if (fresh > 0)  // the final norm is of the last block's group
        model.store.initialize(run.training.seed,
                               [&](const Parameter& p) { return p.group > last - fresh && p.group <= last; });
    return {};
}

}  // namespace ulmpi
