#pragma once
// The wish from outside that a run should end early.

#include <array>
#include <chrono>
#include <csignal>

namespace ulmpi {

/// From its making to the end of the process, the first SIGTERM, SIGINT or SIGUSR1 is remembered and changes nothing
/// else; one that comes later ends the process at once, as it would have without this. Launchers may pass a signal on
/// twice: what comes within half a second of the first is the first. At most one at a time.
class StopSignals {
public:
    StopSignals();
    StopSignals(const StopSignals&) = delete;
    StopSignals& operator=(const StopSignals&) = delete;

    /// The signal that came; 0: none yet.
    int received() const;
    /// When this was made: where a command begins.
    std::chrono::system_clock::time_point since() const { return since_; }

    static constexpr std::array<int, 3> signals{SIGTERM, SIGINT, SIGUSR1};

private:
    std::chrono::system_clock::time_point since_ = std::chrono::system_clock::now();
};

/// Holds SIGUSR1 back until a StopSignals is made: who asks for a checkpoint before the program listens waits, and does
/// not end it. To be called first of all, also in a program that starts itself anew.
void hold_early_stops();

/// "SIGTERM"
const char* signal_name(int signal);

}  // namespace ulmpi
