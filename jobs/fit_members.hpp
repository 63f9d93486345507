#pragma once
// The classifier of a fit: the mean of networks that are trained on all rows, stacked with the model of words. How much
// either counts is learnt from networks that are trained without a fold of the rows: every row of such a fold is judged
// by a network and by words which have not seen it (finetune/stacking.hpp). By that it is cross-validated, too.

#include <filesystem>

#include "finetune/judge.hpp"
#include "jobs/fit_state.hpp"

namespace ulmpi {

/// Stage 3, planned anew for the time that stage 2 has left: the networks that were planned, as far as the time goes,
/// or more if it goes further (the plan then says how many, one at least), and the file of the classifier. Networks
/// that are done are not trained again. False: the fit was stopped. Collective.
bool train_networks(FitState& fit);

/// Rows that were held out, with what network and words said of them; the stack that the classifier has; and what is
/// said of each row by one that was learnt without it. One rank.
struct HeldOutRows {
    JudgedRows judged;
    Stack stack;
    std::vector<std::int32_t> said_by_words;  ///< without pseudo-labels; in `judged`, by the network alone
    bool pseudo_labels = false;               ///< whether the stack's words have learnt from those
};
HeldOutRows held_out_rows(const FitState& fit);

/// What the classifier in `model` says of the rows; none: the fit was stopped. Collective.
std::optional<Judgement> judgement_by(FitState& fit, const std::filesystem::path& model, const LabelledSet& rows);

}  // namespace ulmpi
