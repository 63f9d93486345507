#include "training/wall_clock.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace ulmpi {
namespace {

using Clock = std::chrono::system_clock;

TEST(WallClock, ReadsTimes) {
    EXPECT_EQ(seconds_from("90s"), 90);
    EXPECT_EQ(seconds_from("30m"), 1800);
    EXPECT_EQ(seconds_from("1.5h"), 5400);
    EXPECT_EQ(seconds_from("2d"), 172800);
    for (const char* wrong : {"", "s", "5", "-1s", "1 s", "5min", "nan", "nans", "infs", "1e999h"})
        EXPECT_FALSE(seconds_from(wrong)) << wrong;
}

TEST(WallClock, ReadsWhatSlurmSays) {
    EXPECT_EQ(seconds_from_slurm("30"), 30);
    EXPECT_EQ(seconds_from_slurm("0:00"), 0);
    EXPECT_EQ(seconds_from_slurm("1:58"), 118);
    EXPECT_EQ(seconds_from_slurm("23:59:59"), 86399);
    EXPECT_EQ(seconds_from_slurm("1-02:03:04"), 93784);
    for (const char* none : {"", "UNLIMITED", "NOT_SET", "INVALID", "1:2:3:4", "-1:00", "1-", "1: 2", ":", "x-1:00"})
        EXPECT_FALSE(seconds_from_slurm(none)) << none;
}

TEST(WallClock, KnowsTheEndOfTheJob) {
    const Clock::time_point now = Clock::from_time_t(1'000'000);
    const auto minute = [] { return std::optional<double>(60); };
    const auto no_end = [] { return std::optional<double>(); };
    EXPECT_EQ(job_end("10m", now, no_end), now + std::chrono::minutes(10));
    EXPECT_EQ(job_end("10m", now, minute), now + std::chrono::minutes(10)) << "what the user says wins";
    EXPECT_EQ(job_end("auto", now, minute), now + std::chrono::minutes(1));
    EXPECT_EQ(job_end("auto", now, no_end), std::nullopt);
    EXPECT_EQ(job_end("none", now, minute), std::nullopt);
    for (const char* wrong : {"", "10", "soon", "1e12d"})
        EXPECT_THROW(job_end(wrong, now, minute), UsageError) << wrong;
}

TEST(WallClock, LeavesTimeForTheSlowestOfLateAndForgetsIt) {
    Pace pace;
    EXPECT_GT(pace.needed(), 0);
    pace.step_took(10);
    pace.save_took(20);
    EXPECT_EQ(pace.step, 10);
    EXPECT_EQ(pace.save, 20);
    EXPECT_GT(pace.needed(), 30);
    pace.step_took(1);
    EXPECT_GT(pace.step, 9);
    for (int i = 0; i < 200; ++i) pace.step_took(1);
    EXPECT_EQ(pace.step, 1);
    for (int i = 0; i < 50; ++i) pace.save_took(2);
    EXPECT_EQ(pace.save, 2);
}

}  // namespace
}  // namespace ulmpi
