#pragma once
// When a run is saved, what it keeps, and how that went.

#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <optional>
#include <string>

#include "base/progress.hpp"
#include "checkpoints/checkpoint_writer.hpp"
#include "checkpoints/run_folder.hpp"
#include "checkpoints/run_record.hpp"
#include "training/rank_model.hpp"
#include "training/training_options.hpp"
#include "training/wall_clock.hpp"

namespace ulmpi {

/// How the saves of a run went.
struct SaveTally {
    std::uint64_t saved = 0, failed = 0, bytes = 0;
    double seconds = 0;         ///< of work, of the saves that did not fail
    std::uint64_t between = 0;  ///< saves that were begun between two steps,
    double waited = 0;          ///< and how many seconds all steps waited for these
};
/// "saved 3 checkpoints of 1.5 GB: 2.31 s each, 649 MB/s"; in the background also how long the steps waited and what
/// the copies take, `memory` bytes on a rank. Empty if there was no save.
std::string save_summary(const SaveTally& tally, SaveMode mode, std::size_t memory);

/// At most one save is under way. Everything is collective.
class Saving {
public:
    /// What a checkpoint says besides the progress, and what must be on the disk before a checkpoint is published,
    /// asked for on a thread of the writer.
    struct Surroundings {
        RunRecord record;
        std::string tokenizer_json;
        std::function<void()> flush;  ///< rank 0's
        const WideContent* wide = nullptr;
    };

    /// Takes the memory for all saves of this process, which begins at `start`. Everything must outlive this; times are
    /// told to `pace`, failures below `bar`.
    Saving(RankModel& model, const RunOptions& run, Surroundings surroundings, const Progress& start, Pace& pace,
           ProgressLine& bar);

    /// The best step that has a checkpoint.
    const std::optional<BestStep>& best() const { return best_; }
    /// The same, were all that is to be saved, or is being saved, there already.
    std::optional<BestStep> best_known() const;
    bool under_way() const { return writer_.busy(); }
    /// Whether steps were made since the newest checkpoint, or the one under way.
    bool is_behind(std::uint64_t step) const { return !begun_step_ || step > *begun_step_; }

    /// The model scored `loss` after `step`. If no step that was saved is better, this one is to be saved.
    void evaluated(std::uint64_t step, double loss);
    /// Whether the model as it is after `step` is the best, and not saved as such.
    bool best_is_due() const { return next_best_.has_value(); }
    /// Whether it is to be saved: --save-interval says so, or it is the best.
    bool due(std::uint64_t step) const;

    /// Saves the model, after what is under way; which step was the best is added. In async mode the save goes on when
    /// this returns, unless it is the `last`, which must succeed: otherwise throws AgreedError. A failure of any other
    /// is said and the run goes on.
    void save(SavedProgress now, bool last);
    /// Between steps: takes the save under way to its next phase, or to its end, if all ranks are ready.
    void look();

    /// Waits for what is under way.
    void finish();

    std::string summary() const { return save_summary(tally_, mode_, memory_); }

private:
    using Clock = std::chrono::steady_clock;
    void take(const SaveResult& result, bool last);

    RankModel& model_;
    const RunOptions& run_;
    const Surroundings surroundings_;
    Pace& pace_;
    ProgressLine& bar_;
    const RunFolder folder_;
    std::future<void> pruning_;  // rank 0's, after a save; its destructor waits
    const SaveInterval interval_;
    const SaveMode mode_;
    const bool leader_;
    CheckpointWriter writer_;
    std::size_t memory_;                       // of the writer, on the rank where it is largest
    std::optional<std::uint64_t> begun_step_;  // none: not even that of the start is here
    Clock::time_point last_save_ = Clock::now();
    std::optional<BestStep> best_;         // has a checkpoint
    std::optional<BestStep> next_best_;    // will be the best when it has been saved
    std::optional<BestStep> saving_best_;  // of the save under way
    SaveTally tally_;
};

}  // namespace ulmpi
