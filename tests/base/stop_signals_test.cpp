#include "base/stop_signals.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace ulmpi {
namespace {

TEST(StopSignalsTest, TheFirstIsRememberedAndItsEchoIsNot) {
    for (int signal : StopSignals::signals) {
        const StopSignals signals;
        EXPECT_EQ(signals.received(), 0);
        std::raise(signal);
        EXPECT_EQ(signals.received(), signal);
        for (int echo : StopSignals::signals) std::raise(echo);  // as from a launcher that passes them on
        EXPECT_EQ(signals.received(), signal);
    }
}

TEST(StopSignalsTest, ASecondEndsAtOnce) {
    const auto die = [](int first, int second) {
        const StopSignals signals;
        std::raise(first);
        std::this_thread::sleep_for(std::chrono::milliseconds(600));
        std::raise(second);
        std::_Exit(0);
    };
    for (int first : StopSignals::signals) {
        EXPECT_EXIT(die(first, SIGTERM), testing::KilledBySignal(SIGTERM), "");
        EXPECT_EXIT(die(first, SIGUSR1), testing::KilledBySignal(SIGUSR1), "");
    }
}

TEST(StopSignalsTest, AProcessThatIsAboutToEndMayDoSo) {
    const auto end = [] {
        { const StopSignals signals; }
        std::raise(SIGTERM);
        std::_Exit(7);
    };
    EXPECT_EXIT(end(), testing::ExitedWithCode(7), "");
}

TEST(StopSignalsTest, HaveNames) {
    EXPECT_STREQ(signal_name(SIGTERM), "SIGTERM");
    EXPECT_STREQ(signal_name(SIGINT), "SIGINT");
    EXPECT_STREQ(signal_name(SIGUSR1), "SIGUSR1");
}

}  // namespace
}  // namespace ulmpi
