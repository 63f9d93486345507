#include "training/inference.hpp"

#include <fmt/format.h>

#include "checkpoints/run_folder.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {

StoredModel open_model(const std::string& run_or_checkpoint, const Communicator& world, bool verified) {
    // A run at work may have another newest checkpoint by the time another rank looks.
    const std::string newest = together(
        world, [&] { return world.rank() == 0 ? resolve_checkpoint(run_or_checkpoint).string() : std::string(); });
    const std::filesystem::path path = broadcast_text(newest, world, 0);
    if (world.rank() == 0)
        if (const std::string choice = choice_by_name(run_or_checkpoint, path); !choice.empty())
            fmt::print(stderr, "{}\n", choice);
    CheckpointInfo info = read_checkpoint_info(path, world, verified);
    return together(world, [&] {
        const RunRecord record = record_of(path, info);
        check_usage(record.model.has_value(), "{} does not say what model it holds", path.string());
        return StoredModel{path, info, record, *record.model, Tokenizer::from_json(info.tokenizer_json, path.string())};
    });
}

std::unique_ptr<RankModel> load_for_inference(const StoredModel& stored, const HeadConfig& head, const Layout& layout,
                                              const PassPlan& plan, const Communicator& world) {
    together(world, [&] { check_layout(stored.config, layout.extents.pipeline, layout.extents.tensor); });
    auto model = std::make_unique<RankModel>(world, layout, stored.config, head, plan, std::nullopt);
    load_checkpoint(stored.path, model->store, {}, model->topology, {.moments = false, .verified = true});
    return model;
}

std::vector<float> predict_scores(RankModel& model, const std::vector<MicroBatch>& batches, std::size_t outputs,
                                  CarriedStates* states) {
    PassOptions options;
    options.training = false;
    options.predict = true;
    options.states = states;
    evaluate_pass(model.stage, model.topology, model.layout.threads, batches, options);
    if (states != nullptr) states->advance();
    std::size_t documents = 0;
    for (const MicroBatch& batch : batches) documents += batch.documents_begun();
    std::vector<float> scores = model.stage.scores();
    scores.resize(documents * outputs);
    model.topology.pipeline.broadcast(std::span<float>(scores), model.topology.extents.pipeline - 1);
    return scores;
}

}  // namespace ulmpi
