#include "training/learning_rate.hpp"

#include <gtest/gtest.h>

namespace ulmpi {
namespace {

constexpr RateSchedule every_schedule[] = {RateSchedule::cosine,
                                           RateSchedule::linear,
                                           RateSchedule::constant,
                                           RateSchedule::inverse_sqrt,
                                           RateSchedule::warmup_stable_decay,
                                           RateSchedule::slanted_triangular};

double rate(RateSchedule schedule, std::uint64_t step, std::uint64_t steps, std::uint64_t warm_up, double peak = 1,
            double least = 0) {
    RateConfig c;
    c.schedule = schedule;
    c.peak = peak;
    c.least = least;
    c.steps = steps;
    c.warm_up = warm_up;
    return learning_rate(c, step);
}

// Howard & Ruder 2018 with T = 1000, cut fraction 0.1, ratio 32, peak 0.01.
TEST(LearningRateTest, PublishedSlantedTriangle) {
    const std::pair<double, double> golden[] = {
        {0, 3.125e-4}, {50, 5.15625e-3}, {100, 1e-2}, {550, 5.15625e-3}, {1000, 3.125e-4}};
    for (const auto& [step, expected] : golden) {
        EXPECT_NEAR(slanted_triangular(step, 1000, 0.01), expected, 1e-15) << step;
        EXPECT_NEAR(rate(RateSchedule::slanted_triangular, static_cast<std::uint64_t>(step), 1000, 0, 0.01), expected,
                    1e-15);
    }
}

TEST(LearningRateTest, SlantedTriangleRisesThenFallsBetweenItsBounds) {
    for (double steps : {1.0, 2.0, 5.0, 9.0, 10.0, 11.0, 333.0})
        for (double cut : {0.0, 0.1, 0.5, 1.0}) {
            double before = 0;
            for (double step = 0; step <= steps; ++step) {
                const double now = slanted_triangular(step, steps, 1, cut);
                EXPECT_GE(now, 1.0 / 32 - 1e-15);
                EXPECT_LE(now, 1 + 1e-15);
                if (step > 0) {
                    EXPECT_TRUE(step <= steps * cut ? now >= before : step - 1 < steps * cut || now <= before);
                }
                before = now;
            }
        }
}

TEST(LearningRateTest, KnownValues) {
    EXPECT_DOUBLE_EQ(rate(RateSchedule::cosine, 0, 11, 0), 1);
    EXPECT_DOUBLE_EQ(rate(RateSchedule::cosine, 5, 11, 0), 0.5);
    EXPECT_NEAR(rate(RateSchedule::cosine, 10, 11, 0), 0, 1e-15);
    EXPECT_NEAR(rate(RateSchedule::cosine, 10, 11, 0, 1, 0.1), 0.1, 1e-15);
    EXPECT_DOUBLE_EQ(rate(RateSchedule::linear, 5, 11, 0, 1, 0.5), 0.75);
    EXPECT_DOUBLE_EQ(rate(RateSchedule::linear, 10, 11, 0, 1, 0.5), 0.5);
    EXPECT_DOUBLE_EQ(rate(RateSchedule::constant, 10, 11, 0), 1);
    EXPECT_DOUBLE_EQ(rate(RateSchedule::inverse_sqrt, 399, 1000, 100), 0.5);
    EXPECT_DOUBLE_EQ(rate(RateSchedule::warmup_stable_decay, 79, 100, 10), 1);
    EXPECT_DOUBLE_EQ(rate(RateSchedule::warmup_stable_decay, 89, 100, 10), 0.5);
    EXPECT_NEAR(rate(RateSchedule::warmup_stable_decay, 99, 100, 10, 1, 0.25), 0.25, 1e-15);
}

TEST(LearningRateTest, WarmUpRisesLinearlyToThePeak) {
    for (RateSchedule schedule : every_schedule) {
        if (schedule == RateSchedule::slanted_triangular) continue;
        for (std::uint64_t warm_up : {1u, 2u, 10u})
            for (std::uint64_t step = 0; step < warm_up; ++step)
                EXPECT_DOUBLE_EQ(rate(schedule, step, 100, warm_up, 0.3),
                                 0.3 * static_cast<double>(step + 1) / static_cast<double>(warm_up));
    }
}

TEST(LearningRateTest, FallsFromThePeakAndStaysBetweenItsBounds) {
    for (RateSchedule schedule : every_schedule)
        for (std::uint64_t steps : {1u, 2u, 3u, 10u, 101u})
            for (std::uint64_t warm_up : {0u, 1u, 2u, 10u, 101u, 200u}) {
                double before = 2;
                for (std::uint64_t step = 0; step < steps + 20; ++step) {  // a resumed run may go on longer
                    const double now = rate(schedule, step, steps, warm_up, 1, 0.01);
                    EXPECT_TRUE(std::isfinite(now));
                    EXPECT_LE(now, 1 + 1e-15);
                    if (schedule == RateSchedule::slanted_triangular) continue;
                    EXPECT_GT(now, 0);
                    if (step >= warm_up && step > 0 && schedule != RateSchedule::slanted_triangular) {
                        EXPECT_LE(now, before + 1e-15) << "step " << step << " of " << steps;
                        if (schedule != RateSchedule::inverse_sqrt) {
                            EXPECT_GE(now, 0.01 - 1e-15);
                        }
                        before = now;
                    }
                }
            }
}

TEST(LearningRateTest, DiscriminativeRates) {
    EXPECT_DOUBLE_EQ(group_rate(0.01, 5, 5, 2.6), 0.01);
    for (int group = 0; group < 5; ++group)
        EXPECT_DOUBLE_EQ(group_rate(1, group, 5, 2.6) * 2.6, group_rate(1, group + 1, 5, 2.6));
}

TEST(LearningRateTest, Names) {
    for (const char* name : {"cosine", "linear", "constant", "inv-sqrt", "wsd", "stlr"})
        EXPECT_NO_THROW(rate_schedule_from(name));
    EXPECT_THROW(rate_schedule_from("cosin"), UsageError);
}

}  // namespace
}  // namespace ulmpi
