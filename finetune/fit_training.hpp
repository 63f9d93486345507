#pragma once
// The stages of a fit, run as planned.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "finetune/fit_state.hpp"

namespace ulmpi {

/// How a part of a fit ended: as planned; before that, because its time was over; or with the whole fit.
enum class Outcome { done, cut_short, stopped };

/// Stage 2, unless it is done or left out. False: the fit was stopped. Collective, as are all that follow.
bool train_on_text(FitState& fit);
/// Stage 3, planned anew for the time that stage 2 has left: the final classifier. False: the fit was stopped.
bool train_on_rows(FitState& fit);

/// Stage 3 on `rows`, which a trainer reads from the file of that name, in `run`: for `seconds` and half as many more
/// at most, if that is beyond the time given.
Outcome train_classifier_in(FitState& fit, const std::filesystem::path& run, const std::string& rows, double seconds);
/// The path of these rows as a file of that name, which is written if it is not there.
std::string file_of(const FitState& fit, const LabelledSet& rows, const std::string& name);
/// Class probabilities of the rows by the classifier in `run`; none: the fit was stopped.
std::optional<std::vector<float>> probabilities_by(FitState& fit, const std::filesystem::path& run,
                                                   const LabelledSet& rows);

}  // namespace ulmpi
