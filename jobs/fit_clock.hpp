#pragma once
// The time that a fit has: rank 0's clock, alike on all ranks.

#include <chrono>
#include <optional>
#include <string>

#include "base/stop_signals.hpp"
#include "parallel/communicator.hpp"

namespace ulmpi {

/// Everything is collective.
class FitClock {
public:
    using Time = std::chrono::system_clock::time_point;

    /// `given`: seconds for all starts together. `walltime`: of this job, as the option has it; UsageError if it cannot
    /// be read. Both references must outlive this.
    FitClock(double given, const std::string& walltime, const StopSignals& signals, const Communicator& world);
    /// What the starts before this one took, on rank 0.
    void add(double seconds) { before_ += seconds; }

    double given() const { return given_; }
    double spent() const;  ///< over all starts
    double left() const { return given_ - spent(); }
    double left_in_job() const;  ///< of it, before this job ends
    const std::optional<Time>& end_of_job() const { return end_of_job_; }

    /// When a trainer has to end: a --walltime for it.
    struct Limit {
        std::string walltime;
        bool of_job;  ///< then the job's time is over, and not the trainer's alone
    };
    /// When the fit has spent so many seconds, or when the job ends.
    Limit limit(double spent) const;

private:
    double here() const;

    const double given_;
    const StopSignals& signals_;
    const Communicator& world_;
    std::optional<Time> end_of_job_;  // rank 0's
    double before_ = 0;
};

}  // namespace ulmpi
