#pragma once
// How much of a job's time is left, and whether it is enough to go on.

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace ulmpi {

/// "90s", "30m", "2h", "1d" -> seconds; none where the text is no such thing.
std::optional<double> seconds_from(const std::string& text);

/// The time that is left as squeue writes it, "1-02:03:04", "59:30" -> seconds; none for UNLIMITED and the like.
std::optional<double> seconds_from_slurm(std::string_view text);

/// When the job's time is over. `walltime` is "auto" (when `slurm_left()` seconds are over, none: no end), "none", or a
/// duration from `now` on. Throws UsageError naming --walltime.
std::optional<std::chrono::system_clock::time_point> job_end(const std::string& walltime,
                                                             std::chrono::system_clock::time_point now,
                                                             const std::function<std::optional<double>()>& slurm_left);

/// Asks squeue how much of the Slurm job's time is left that this process is in; none outside a job, for a job without
/// an end, and, with a note on standard error, where squeue does not know. One rank.
std::optional<double> slurm_seconds_left();

/// What a run must leave time for, in seconds: measured while it goes, guessed before.
struct Pace {
    double step = 0;  ///< the longest of late
    double save = 0;

    /// The longest is forgotten slowly, so that one slow step does not end the run minutes early for ever.
    void step_took(double seconds) { step = std::max(seconds, 0.98 * step); }
    void save_took(double seconds) { save = std::max(seconds, 0.8 * save); }
    /// One step and a save behind it, half as long again as they took, and some seconds for everything else. Of
    /// `saves` that come before the last: one that is under way, and one that is due before the step.
    double needed(int saves = 0) const { return 1.5 * (step + (1 + saves) * save) + 3; }
};

/// A save nobody has measured yet: at 100 MB/s, a slow shared disk.
constexpr double guessed_save_seconds(double bytes) { return bytes / 100e6 + 0.2; }

}  // namespace ulmpi
