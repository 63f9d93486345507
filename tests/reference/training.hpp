#pragma once
// A model under a layout with all that trains it, for tests.

#include <vector>

#include "tests/reference/tiny_model.hpp"
#include "training/train_step.hpp"

namespace ulmpi::reference {

struct Layout {
    int pipeline = 1, tensor = 1;
    PipelineSchedule schedule = PipelineSchedule::one_forward_one_backward;
    int threads = 1;
    Precision precision = Precision::fp32;
};

/// Collective to make. Holds room for steps of up to `micro_batches` of up to `sequences` full sequences, with GPipe
/// `at_most` (0: all) of them at a time, and for `documents` in several of them. With `streams`, sequence s of a step
/// begins with the state that it left in the step before. The sum of each group's gradients begins while backward runs.
struct Training {
    Training(const ModelConfig& config, const HeadConfig& head, const Communicator& world, const Layout& layout,
             std::size_t sequences, int micro_batches, int at_most = 0, std::size_t documents = 0,
             const AdamwConfig& optimizer_config = {}, std::size_t streams = 0)
        : topology(world, extents_for(world.size(), layout.pipeline, layout.tensor)),
          place{topology.at.stage, layout.pipeline, topology.at.slice, layout.tensor},
          plan{sequences,
               config.context,
               slots_needed(layout.schedule, place, micro_batches, at_most > 0 ? at_most : micro_batches),
               layout.threads,
               true,
               layout.precision,
               documents,
               config.source_context,
               has_weights_passes(layout.schedule, layout.pipeline)},
          stage(config, head, store, place, topology.tensor),
          optimizer(allocated(layout.precision), optimizer_config, &topology.tensor),
          trainee{stage, store, optimizer, topology, layout.schedule, layout.threads, /*bucket_bytes=*/1} {
        stage.prepare(plan);
        if (streams > 0) states.emplace(stage.states(), streams);
    }
    Training(const Training&) = delete;

    /// An update at one rate for all groups, the loss being the mean over `targets`; a classifier's are its sequences.
    StepResult step(const std::vector<MicroBatch>& batches, std::size_t targets, std::uint64_t number,
                    double max_gradient_norm = 0, int first_trained_group = 0) {
        PassOptions o = options(targets, number, first_trained_group);
        o.states = states ? &*states : nullptr;
        return train_step(trainee, batches, o, rates(first_trained_group), max_gradient_norm, number);
    }
    static PassOptions options(std::size_t targets, std::uint64_t number, int first_trained_group = 0) {
        PassOptions o;
        o.random_key = random_key(5, number);
        o.loss_scale = 1.0 / static_cast<double>(targets);
        o.global_sequences = targets;
        o.first_trained_group = first_trained_group;
        return o;
    }
    GroupRates rates(int first_trained_group = 0) const {
        return {std::vector<double>(stage.config().layers + 2, 1e-3), first_trained_group};
    }

    Topology topology;
    StagePlace place;
    BatchPlan plan;
    ParameterStore store;
    Stage stage;
    std::optional<CarriedStates> states;
    Optimizer optimizer;
    Trainee trainee;

private:
    const ParameterStore& allocated(Precision precision) {
        store.allocate(true, precision);
        store.initialize(9);
        return store;
    }
};

}  // namespace ulmpi::reference
