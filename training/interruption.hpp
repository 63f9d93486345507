#pragma once
// What ends a run early: a signal to any of its ranks, or the end of the job's time.

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "base/stop_signals.hpp"
#include "parallel/communicator.hpp"
#include "training/wall_clock.hpp"

namespace ulmpi {

/// Asked by something long, between its parts, whether to leave off; collective. Empty: never.
using LeaveOff = std::function<bool()>;

/// Every rank may have got a signal; rank 0 looks at the clock; all learn of it together.
class Interruption {
public:
    using Time = std::chrono::system_clock::time_point;
    /// Both must outlive this. `end`: when the job's time is over.
    Interruption(const StopSignals& signals, std::optional<Time> end, const Communicator& all)
        : signals_(signals), end_(end), all_(all) {}

    /// Whether to stop, when going on takes `needed` seconds of the job's time: once true, always true. Collective.
    bool agreed(double needed);
    /// By the clock, not by a signal.
    bool time_is_over() const { return reason_ == out_of_time; }
    /// Whether more of the job's time has passed on rank 0 than is left: a signal may have come because of its end.
    bool time_is_short() const;
    /// "SIGTERM" or "the end of the job's time".
    std::string reason() const;
    /// Seconds of the job's time that are left on rank 0; none without an end.
    std::optional<double> seconds_left() const;

private:
    static constexpr int out_of_time = 1000;  // above every signal

    const StopSignals& signals_;
    std::optional<Time> end_;
    const Communicator& all_;
    int reason_ = 0;
};

}  // namespace ulmpi
