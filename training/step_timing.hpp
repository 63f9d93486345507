#pragma once
// How long updates take: for bench, and for who plans by the clock.

#include <cstdint>
#include <functional>
#include <vector>

#include "training/trainer.hpp"

namespace ulmpi {

/// Updates that were timed on this rank.
struct StepTimes {
    std::vector<double> seconds;  ///< of each
    std::uint64_t tokens = 0;     ///< of their global batches together
    StepResult last;

    double total() const;
    double median() const;  ///< of one or more
};

/// Makes the updates `first`, `first` + 1, … of `plan` at its rates and times them, each begun by all ranks together,
/// until `enough` says so on rank 0; one at least. Making the batches is not timed. Collective.
StepTimes time_steps(RankModel& model, const std::function<StepPlan(std::uint64_t step)>& plan, std::uint64_t first,
                     const std::function<bool(const StepTimes&)>& enough);

/// An update of a language model on random tokens, a pure function of (step, row of the global batch, position): the
/// share of this model's replica in `rows` sequences of the whole context.
StepPlan random_text(const RankModel& model, std::uint64_t step, std::size_t rows, std::size_t micro_batch);

}  // namespace ulmpi
