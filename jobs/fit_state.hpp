#pragma once
// A fit under way: what its parts share. Every rank calls every function alike.

#include <cstdint>
#include <optional>
#include <vector>

#include "jobs/fit_baselines.hpp"
#include "jobs/fit_clock.hpp"
#include "jobs/fit_folder.hpp"
#include "jobs/fit_report.hpp"
#include "jobs/fit_stages.hpp"
#include "jobs/fit_task.hpp"
#include "training/interruption.hpp"

namespace ulmpi {

/// Begins where an earlier start of the same fit was stopped, or else with a plan, which is said.
class FitState {
public:
    /// Reads all that was given. All references must outlive this. Collective; UsageError alike on all ranks: as
    /// read_fit_task has it, too few minutes, a folder that holds something else.
    FitState(const FitOptions& options, const OptionTable& table, const StopSignals& signals,
             const Communicator& world);
    FitState(const FitState&) = delete;
    FitState& operator=(const FitState&) = delete;

    const FitOptions& options;
    const StopSignals& signals;
    const Communicator& world;
    const bool leader;  ///< rank 0, which writes and speaks
    const FitFolder folder;
    FitClock clock;
    Interruption interruption;
    const FitTask task;
    const FitRecipe recipe;
    const FitStages stages;
    FitRecord record;

    /// The training rows that are learnt from: all, or a sample.
    const LabelledSet& rows() const { return rows_; }
    /// Their places among all.
    const std::vector<std::uint32_t>& places() const { return places_; }

    /// The places of the rows that the linear model of words has learnt from: those, and more where it is fast.
    std::vector<std::uint32_t> places_for_words() const;
    /// The places of the rows of --test or of --valid that are judged: all, or a sample.
    std::vector<std::uint32_t> judged_places(const LabelledSet& set) const;

    /// Texts without labels, as many as were planned at most; read when they are asked for first. Collective.
    const LabelledSet& unlabelled();

    /// Whether the whole fit is to end now, to go on later.
    bool stopped() { return interruption.agreed(1); }
    void remember() const;  ///< writes the record
    /// For the time that is left. The networks' rows are among those that the linear model has learnt from.
    void plan_again(FitFacts facts);
    /// Fits the linear model: the record then has what the baselines say of the test rows, or else of the training rows
    /// in use (-1 of the others), the folder the model and what it says of the rows in use.
    void compare();
    /// What the linear model says of the rows in use, held out by it: logarithms, (rows, classes). Rank 0 alone.
    std::vector<float> words_held_out() const;

private:
    std::vector<std::uint32_t> words_places(std::uint64_t rows) const;  ///< of a linear model of so many rows
    double seconds_of_one_model(const LabelledSet& rows) const;         ///< a linear one, for a token of its rows
    void plan();
    void use_planned_rows();
    Compared compare_with(const std::vector<std::uint32_t>& places, double pieces_seconds) const;
    void take(const Compared& compared, std::size_t rows);
    void write_words(const LinearFit& words) const;
    double pieces_seconds() const { return recipe.pieces_share * clock.left_in_job(); }  ///< that they may take

    std::optional<FolderLock> lock_;
    std::optional<Compared> compared_;  ///< before there is a folder
    std::vector<std::uint32_t> places_;
    LabelledSet rows_;
    std::optional<LabelledSet> unlabelled_;
};

}  // namespace ulmpi
