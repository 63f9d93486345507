#pragma once
// Where a run goes on: what comes before the loop of pretrain/trainer.hpp.

#include <optional>
#include <string>

#include "checkpoints/run_folder.hpp"
#include "pretrain/inference.hpp"
#include "pretrain/rank_model.hpp"
#include "pretrain/run_progress.hpp"
#include "pretrain/training_options.hpp"

namespace ulmpi {

/// Rank 0's hold on the run's folder, if it is there already: taken before its checkpoints are looked at. run_training
/// takes it where it makes the folder. Collective; UsageError where another process has it.
std::optional<FolderLock> lock_run(const RunOptions& run, const Communicator& world);

/// Where a run goes on: at the newest of its own checkpoints that verifies (what was passed over is said), one that was
/// named, or nowhere (a fresh start). Collective; throws UsageError when --resume never meets a run that is there, a
/// named checkpoint is not, or the run has checkpoints of which none can be used.
std::optional<StoredModel> model_to_resume(const RunOptions& run, const Communicator& world);

/// "the same command", and what it must say besides to find what this run has saved.
std::string command_to_go_on(const RunOptions& run);

/// Loads weights, moments and progress.
Progress resume_from(const StoredModel& stored, RankModel& model);

}  // namespace ulmpi
