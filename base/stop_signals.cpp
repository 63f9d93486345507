#include "base/stop_signals.hpp"

#include <time.h>

#include <atomic>
#include <cerrno>

namespace ulmpi {
namespace {

// A handler sees nothing else of the program.
std::atomic<int> first_signal{0};
std::atomic<long long> first_milliseconds{0};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<long long>::is_always_lock_free);

long long now_in_milliseconds() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

void remember(int signal) {
    const int saved = errno;
    const long long now = now_in_milliseconds();
    long long none = 0;
    if (first_milliseconds.compare_exchange_strong(none, now)) {
        first_signal = signal;
    } else if (now - none > 500) {
        std::signal(signal, SIG_DFL);
        std::raise(signal);  // takes effect when this handler returns
    }
    errno = saved;
}

void hold(int how) {
    sigset_t early;
    sigemptyset(&early);
    sigaddset(&early, SIGUSR1);
    pthread_sigmask(how, &early, nullptr);
}

}  // namespace

StopSignals::StopSignals() {
    first_signal = 0;
    first_milliseconds = 0;
    struct sigaction action {};
    action.sa_handler = remember;
    action.sa_flags = SA_RESTART;
    for (int signal : signals) sigaction(signal, &action, nullptr);
    hold(SIG_UNBLOCK);
}

void hold_early_stops() { hold(SIG_BLOCK); }

int StopSignals::received() const { return first_signal; }

const char* signal_name(int signal) {
    switch (signal) {
        case SIGTERM:
            return "SIGTERM";
        case SIGINT:
            return "SIGINT";
        case SIGUSR1:
            return "SIGUSR1";
        default:
            return "a signal";
    }
}

}  // namespace ulmpi
