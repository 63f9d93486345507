#pragma once
// Everything that one rank holds of a model: its place in the grid, its slice of the weights, its stage.

#include <optional>

#include "checkpoints/checkpoint_writer.hpp"
#include "model/stage.hpp"
#include "parallel/topology.hpp"
#include "training/layout.hpp"
#include "training/train_step.hpp"

namespace ulmpi {

/// Largest pass that will be played: sequences and tokens of a micro-batch, micro-batches of a replica's share of a
/// step. Where documents are longer than the context, the chunks of that share make more micro-batches, of which GPipe
/// has no more than the former number in flight; and so many documents have chunks in several micro-batches.
struct PassPlan {
    std::size_t sequences = 1, length = 1;
    int micro_batches = 1;
    std::size_t chunks = 0, documents = 0;
    std::size_t wide = 0;     ///< bytes of a linear model, and of what it says, that the rank holds beside the pass
    std::size_t streams = 0;  ///< of text, along which a recurrent model carries its states from step to step; 0: none
};

/// Bytes that a rank will need: weights, gradients, moments (an average of the weights among them), activations, the
/// tokens of a step, what saving takes, wide features, and states of streams.
struct MemoryEstimate {
    std::size_t parameters = 0, gradients = 0, moments = 0, activations = 0, tokens = 0, saving = 0, wide = 0,
                states = 0;
    std::size_t total() const {
        return parameters + gradients + moments + activations + tokens + saving + wide + states;
    }
};

class RankModel {
public:
    /// Collective. Throws UsageError, alike on every rank, when the layout does not fit the model, or when the estimate
    /// exceeds the node's memory. `adamw`: none when there will be no training; `saves`: none when there will be no
    /// checkpoints with moments. Weights are not initialised yet.
    RankModel(const Communicator& world, const Layout& layout, const ModelConfig& config, const HeadConfig& head,
              const PassPlan& plan, const std::optional<AdamwConfig>& adamw,
              const std::optional<SaveMode>& saves = std::nullopt);
    RankModel(const RankModel&) = delete;
    RankModel& operator=(const RankModel&) = delete;

    Timeline timeline;  ///< of this rank's first thread, from the making of the model on
    Topology topology;
    Layout layout;
    ParameterStore store;
    Stage stage;
    std::optional<Optimizer> optimizer;
    std::optional<CarriedStates> states;  ///< of a recurrent model that reads streams
    MemoryEstimate memory;

    Moments moments() {
        return {optimizer->first_moments(), optimizer->second_moments(), optimizer->average(),
                states ? &states->tensors() : nullptr};
    }
    Trainee trainee() {
        return {stage, store, *optimizer, topology, layout.schedule, layout.threads, bucket_bytes_for(layout.overlap)};
    }
    /// Replicas learn the states of each other's streams, so that any can be saved. Collective.
    void share_states();
    /// Parameters of the whole model. Collective.
    std::uint64_t parameters() const;
    /// "dp2 x pp1 x tp1, 1 thread per rank, 5.2 M parameters (2.6 M here), 120 MB per rank".
    std::string description() const;
};

}  // namespace ulmpi
