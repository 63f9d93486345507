#pragma once
// Cross-validation of a fit: folds of the rows are held out in turn, and judged by a classifier that is trained like
// the final one on all others.

#include "finetune/fit_state.hpp"

namespace ulmpi {

/// Holds out the folds that were planned, as far as the time goes: the plan then says how many. What is known of a fold
/// stays in its file, its classifier goes. False: the fit was stopped. Collective.
bool hold_folds_out(FitState& fit);

/// All rows that were held out, with what was said of them. One rank.
JudgedRows held_out_rows(const FitState& fit);

}  // namespace ulmpi
