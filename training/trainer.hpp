#pragma once
// The loop around train_step: one for all three stages of training.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/stop_signals.hpp"
#include "checkpoints/run_folder.hpp"
#include "checkpoints/run_record.hpp"
#include "training/interruption.hpp"
#include "training/metrics.hpp"
#include "training/rank_model.hpp"
#include "training/training_options.hpp"

namespace ulmpi {

/// One update as a task wants it: this replica's micro-batches, and what the whole global batch weighs.
struct StepPlan {
    std::vector<MicroBatch> batches;
    double weight = 1;          ///< of all targets of the global batch, over all replicas: the loss is divided by it
    std::uint64_t tokens = 0;   ///< real tokens of the global batch
    std::size_t sequences = 1;  ///< of the global batch
    GroupRates rates;
};

/// What is learned: which batches, at which rates, and how it is judged. Stages differ in this and in nothing else.
/// Every rank calls every function alike.
class TrainingTask {
public:
    virtual ~TrainingTask() = default;
    virtual std::uint64_t steps() const = 0;
    /// Update `step`, counted from 0. A pure function of it; called on a thread of its own, one call at a time.
    virtual StepPlan plan(std::uint64_t step) const = 0;
    /// Floating-point operations of training on so many tokens; 0: not known.
    virtual double flops(std::uint64_t tokens) const = 0;
    /// Weights on the loss of each class; empty: 1.
    virtual std::vector<float> class_weights() const { return {}; }
    /// Share of a target that all classes have alike in training; 0: none.
    virtual double label_smoothing() const { return 0; }
    /// Of training, for people; that of an evaluation is never smoothed.
    virtual const char* loss_name() const { return label_smoothing() > 0 ? "smoothed loss" : "loss"; }
    /// Whether there is anything to be judged on.
    virtual bool evaluates() const = 0;
    /// Records of an evaluation: after the last update (`last`), or in between. May be empty. None if it was left off
    /// because `leave_off`, asked now and then, said so.
    virtual std::optional<std::vector<Record>> evaluate(bool last, const LeaveOff& leave_off) = 0;
};

/// What a run is besides its task: written into every checkpoint.
struct RunDescription {
    std::string title;  ///< "pretrain", for people
    RunRecord record;   ///< to which the progress is added
    std::string tokenizer_json, config_ini;
    WideContent wide = {};  ///< rank 0's
};

/// The exit status of a run that was stopped early, with a checkpoint to go on from.
constexpr int stopped_early = 75;

/// Trains from `progress` (what the checkpoint says that was loaded, or zeros) to the task's end: metrics, progress
/// line, evaluations, checkpoints, and a table at the end. Stops early, with a checkpoint, when a signal has come or
/// the job's time would not do for another step and a save. Returns the exit status: 0 or stopped_early. Collective.
/// Throws AgreedError if the last checkpoint cannot be saved, UsageError if the job's time does not do for a single
/// step.
int run_training(RankModel& model, TrainingTask& task, const TrainingOptions& training, const RunOptions& run,
                 const RunDescription& description, Progress progress, const StopSignals& signals,
                 std::optional<FolderLock>& lock);

}  // namespace ulmpi
