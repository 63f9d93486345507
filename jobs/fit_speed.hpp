#pragma once
// How fast this machine trains the model of a fit: measured, before anything is planned.

#include "jobs/fit_stages.hpp"

namespace ulmpi {

/// How long each stage is measured, in seconds: long says more on a busy machine, but is not to take much of a short
/// time.
double seconds_to_measure(double given);

/// Some updates of both stages, on random tokens and on the training rows, `seconds` long each; alike on all ranks.
/// Collective; UsageError where the layout does not fit the model or the machine's memory.
FitSpeed measure_speed(const FitTask& task, const FitStages& stages, double seconds, const Communicator& world);

/// Stage 3's alone, which is all that changes with the load of the machine once stage 2 is done; `train`: its rows.
double measure_classifier(const FitTask& task, const LabelledSet& train, const FitStages& stages, double seconds,
                          const Communicator& world);

}  // namespace ulmpi
