#pragma once
// One update of the weights, and one pass without.

#include <vector>

#include "model/stage.hpp"
#include "parallel/pipeline_schedule.hpp"
#include "parallel/topology.hpp"
#include "training/gradient_sums.hpp"
#include "training/optimizer.hpp"

namespace ulmpi {

/// What an update reports, the same on every rank.
struct StepResult {
    double loss = 0;           ///< mean over the targets of the global batch
    double gradient_norm = 0;  ///< global, before clipping
    friend bool operator==(const StepResult&, const StepResult&) = default;
};

/// How a model is trained on this rank.
struct Trainee {
    Stage& stage;
    ParameterStore& parameters;
    Optimizer& optimizer;
    const Topology& topology;
    PipelineSchedule schedule = PipelineSchedule::one_forward_one_backward;
    int threads = 1;
    std::size_t bucket_bytes = no_overlap;  ///< from how many on a sum of gradients begins before backward ends
};

/// Forward and backward of all micro-batches, gradients summed over the replicas, clipped, and one AdamW update.
/// `batches` are this replica's, every rank of it having the same; options.loss_scale is 1 / targets of the global
/// batch. max_gradient_norm 0: no clipping. When the loss or the norm is not finite, rank 0 throws Error naming step
/// and pipeline stage, and the others wait for the end of the job.
StepResult train_step(Trainee& trainee, const std::vector<MicroBatch>& batches, const PassOptions& options,
                      const GroupRates& rates, double max_gradient_norm, std::uint64_t step);

/// Forward alone. Returns the sum of the losses over the replica's micro-batches, on every rank of it; with
/// options.predict 0, and the scores are in the last stage.
double evaluate_pass(Stage& stage, const Topology& topology, int threads, const std::vector<MicroBatch>& batches,
                     const PassOptions& options);

/// Slots a stage needs to play a step of up to `micro_batches`, with GPipe `at_most` of them at a time.
int slots_needed(PipelineSchedule schedule, const StagePlace& place, int micro_batches, int at_most);

}  // namespace ulmpi
