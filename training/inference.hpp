#pragma once
// A trained model, ready to be asked.

#include <memory>

#include "checkpoints/checkpoint.hpp"
#include "checkpoints/run_record.hpp"
#include "data/tokenizer/tokenizer.hpp"
#include "training/rank_model.hpp"
#include "training/training_options.hpp"

namespace ulmpi {

/// What a checkpoint says of its model; the file has been verified. Collective; UsageError alike on every rank.
struct StoredModel {
    std::filesystem::path path;
    CheckpointInfo info;
    RunRecord record;
    ModelConfig config;  ///< the record's
    Tokenizer tokenizer;
};
StoredModel open_model(const std::string& run_or_checkpoint, const Communicator& world, bool verified = false);

/// Weights loaded, nothing for training. Dropout is off. Collective.
std::unique_ptr<RankModel> load_for_inference(const StoredModel& model, const HeadConfig& head, const Layout& layout,
                                              const PassPlan& plan, const Communicator& world);

/// Scores of the head for each sequence of the batches, of a classifier for each document, (documents, outputs), on
/// every rank of the replica. Collective over the replica. `states`: what a recurrent model begins the sequences with,
/// and leaves; null: zeros.
std::vector<float> predict_scores(RankModel& model, const std::vector<MicroBatch>& batches, std::size_t outputs,
                                  CarriedStates* states = nullptr);

}  // namespace ulmpi
