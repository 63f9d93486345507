#pragma once
// What a classifier must be better than.

#include "finetune/linear_fit.hpp"
#include "jobs/fit_report.hpp"
#include "parallel/communicator.hpp"

namespace ulmpi {

struct Compared {
    std::vector<Baseline> baselines;
    LinearFit words;     ///< a linear model of words, and of pieces of them where there is time, to be stacked
    double seconds = 0;  ///< that the model without pieces took
};

/// What each says of the rows of `judged`, or, if that is null, of every training row, by a model that has not seen it:
/// the commonest class, and a linear model of word n-grams. Pieces of words are left out of `words` where they would
/// take more than `pieces_seconds`. Collective; alike on all ranks.
Compared compare(const LabelledSet& train, const LabelledSet* judged, std::uint64_t seed, int threads,
                 double pieces_seconds, const Communicator& world);

nlohmann::json to_json(const std::vector<Baseline>& baselines);
std::vector<Baseline> baselines_from(const nlohmann::json& baselines);
/// What they say of some of the rows alone.
std::vector<Baseline> baselines_at(const nlohmann::json& baselines, std::span<const std::uint32_t> places);

}  // namespace ulmpi
