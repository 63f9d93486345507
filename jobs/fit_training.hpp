#pragma once
// The stages of a fit, run as planned.

#include <filesystem>
#include <string>

#include "jobs/fit_state.hpp"

namespace ulmpi {

/// How a part of a fit ended: as planned; before that, because its time was over; or with the whole fit.
enum class Outcome { done, cut_short, stopped };

/// Stage 2, unless it is done or left out. False: the fit was stopped. Collective, as are all that follow.
bool train_on_text(FitState& fit);
/// Plans stage 3 anew, for the time that is left, at the speed that the machine has now.
void plan_classifier(FitState& fit);

/// Stage 3 on `rows`, which a trainer reads from the file of that name, in `run`, until the fit has spent so many
/// seconds.
Outcome train_classifier_in(FitState& fit, const std::filesystem::path& run, const std::string& rows, double until,
                            std::uint64_t more_seed);
/// The path of these rows as a file of that name, which is written if it is not there.
std::string file_of(const FitState& fit, const LabelledSet& rows, const std::string& name);

}  // namespace ulmpi
