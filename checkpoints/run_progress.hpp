#pragma once
// How far a run is: `progress` in the metadata of its checkpoints.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>

namespace ulmpi {

/// The evaluation with the lowest validation loss of those whose step has a checkpoint.
struct BestStep {
    std::uint64_t step = 0;
    double loss = 0;
    friend bool operator==(const BestStep&, const BestStep&) = default;
};

/// Whether `loss` is a new best: a number, and lower than that of `best`, if there is one.
bool is_better(double loss, const std::optional<BestStep>& best);

struct Progress {
    std::uint64_t step = 0, tokens = 0;
    double seconds = 0;  ///< of training, over all restarts
    /// Of the samples read (data/sample_ledger.hpp); none where an older version began without.
    std::optional<std::uint64_t> ledger = 0;
    std::optional<BestStep> best = std::nullopt;
    /// Where a run with --early-stop is at its end: the step whose model this is, that of the best evaluation.
    std::optional<std::uint64_t> of_step = std::nullopt;
    friend bool operator==(const Progress&, const Progress&) = default;
};

nlohmann::json to_json(const Progress& progress);
/// What to_json wrote, fields that others added left aside. Throws what nlohmann::json throws.
Progress progress_from(const nlohmann::json& progress);

}  // namespace ulmpi
