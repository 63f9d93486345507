#pragma once
// Pseudo-labels (Scudder 1965, Lee 2013): a network gives each document of --text the class that it finds likeliest,
// and the linear model learns from those as well as from the labelled texts. The network knows more than the few labels
// say, and in thousands of texts the linear model finds the words by which it goes. How much either counts is learnt as
// it is without them, on rows that were held out from both (finetune/stacking.hpp), and so is whether they are better.

#include <filesystem>
#include <optional>

#include "finetune/linear_model.hpp"
#include "jobs/fit_state.hpp"

namespace ulmpi {

/// Documents of --text, `count` at most, in about even distances, no two of the same letters and digits, nor any of
/// those of a text of --train, --test or --valid; with the task's classes, and labels that mean nothing. Collective,
/// alike on all ranks.
LabelledSet unlabelled_texts(const FitTask& task, const FitOptions& options, std::uint64_t count,
                             const Communicator& world);

/// The linear model of `rows` and of the fit's texts without labels, with those that the network in `run` gives them;
/// none: the fit was stopped. Collective.
std::optional<LinearModel> words_taught_by(FitState& fit, const std::filesystem::path& run, const LabelledSet& rows);

}  // namespace ulmpi
