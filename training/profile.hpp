#pragma once
// Where the time of a run goes: for people a table, for Perfetto and chrome://tracing a trace.

#include <string>

#include "base/options/table.hpp"
#include "training/rank_model.hpp"

namespace ulmpi {

void add_profile_option(OptionTable& table, std::string& file);

/// UsageError if the file could not be written at the end: asked by rank 0 before work starts.
void check_profile(const std::string& file);

/// The timeline of the model begins anew, and keeps every phase if `file` is not empty.
void begin_profile(RankModel& model, const std::string& file);

/// What begin_profile began: a table of the phases over all ranks, and the speed of `flops` floating-point operations
/// (0: not said). If `file` is not empty the trace is written there, and the speed is held against the GEMM peak, which
/// is measured now. Collective; the text is for rank 0. Throws Error if the file cannot be written.
std::string end_profile(const RankModel& model, const std::string& file, double flops);

/// GFLOP/s of large matrix products, and of the instructions that products in the model's precision are made of (0:
/// this CPU lacks them), on all threads of all ranks at once. Each takes `seconds`. Collective.
double measure_gemm_peak(const RankModel& model, double seconds);
double measure_instruction_peak(const RankModel& model, double seconds);

}  // namespace ulmpi
