#pragma once
// Fits a linear model to labelled texts, its strength chosen by cross-validation.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "finetune/linear_model.hpp"
#include "parallel/communicator.hpp"

namespace ulmpi {

struct LinearOptions {
    NgramKinds kinds = 2;
    /// Of a model of fewer kinds and the same rows: its emphasis is taken, and its strength or up to ten times it, by
    /// two folds. None: all are tried.
    std::optional<LinearSummary> like = {};
    std::uint64_t seed = 0;                           ///< of the folds
    std::vector<float> class_weights = {};            ///< factor on the loss of each class; empty: 1
    int threads = 0;                                  ///< of this rank; 0: all
    std::size_t most_weights = std::size_t{1} << 25;  ///< columns × classes: rarer n-grams are left out beyond these
};

struct LinearFit {
    LinearModel model;
    /// Log-probabilities of every training text, (texts, classes), by a model that was fitted without its fold.
    std::vector<float> held_out;
};

/// The same bits however many ranks and threads share the work. `labels` are below `classes`; two texts or more.
/// Collective: every rank gives the same and gets all of it.
LinearFit fit_linear(std::span<const std::string> texts, std::span<const std::int32_t> labels, std::size_t classes,
                     const LinearOptions& options, const Communicator& ranks);

/// One model of all texts, of a strength that is known and without emphasis; the same bits on every rank. Collective.
LinearModel fit_linear_of(double strength, std::span<const std::string> texts, std::span<const std::int32_t> labels,
                          std::size_t classes, const LinearOptions& options, const Communicator& ranks);

/// Which of `folds` parts each row is held out with: a function of the seed and the rows' labels and places alone. The
/// parts, and each class in them, differ by at most one row.
std::vector<std::uint32_t> stratified_folds(std::span<const std::int32_t> labels, std::size_t classes,
                                            std::uint32_t folds, std::uint64_t seed);

}  // namespace ulmpi
