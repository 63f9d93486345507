#include "training/optimizer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace ulmpi {
namespace {

constexpr AdamwConfig config{.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-6, .weight_decay = 0.1};

/// Two tensors a group: a matrix, which decays, and a bias, which does not.
void fill(ParameterStore& store, int groups) {
    for (int group = 0; group < groups; ++group)
        for (bool matrix : {true, false})
            store.declare({.name = (matrix ? "matrix" : "bias") + std::to_string(group),
                           .global = matrix ? Shape{5, 7} : Shape{11},
                           .local = {},
                           .slicing = {},
                           .init = Init::normal(1),
                           .group = group});
    store.allocate(true);
    store.initialize(3);
}

double gradient_at(std::size_t step, std::size_t index) {
    return std::sin(static_cast<double>(7 * step + index)) + 0.1;
}

/// AdamW as it is published, one weight at a time.
struct Adam {
    double weight, first = 0, second = 0;
    int updates = 0;
    void step(double gradient, double rate, double decay) {
        ++updates;
        first = config.beta1 * first + (1 - config.beta1) * gradient;
        second = config.beta2 * second + (1 - config.beta2) * gradient * gradient;
        const double m = first / (1 - std::pow(config.beta1, updates));
        const double v = second / (1 - std::pow(config.beta2, updates));
        weight -= rate * decay * weight;
        weight -= rate * m / (std::sqrt(v) + config.eps);
    }
};

// Group 0 stays frozen, group 1 joins at step 3 and starts its bias correction there; each has its rate.
TEST(OptimizerTest, MatchesThePublishedUpdate) {
    for (int threads : {1, 2, 3}) {
        ParameterStore store;
        fill(store, 3);
        Optimizer optimizer(store, config);
        const std::vector<Real> before(store.values().begin(), store.values().end());
        std::vector<Adam> expected;
        for (Real w : before) expected.push_back({.weight = static_cast<double>(w)});
        for (std::size_t step = 0; step < 6; ++step) {
            const GroupRates rates{{0.5, 0.02, 0.01}, step < 3 ? 2 : 1};
            for (const Parameter& p : store.parameters()) {
                if (p.group < rates.first_trained) continue;
                for (std::size_t i = 0; i < p.size(); ++i) {
                    store.gradient_of(p)[i] = static_cast<Real>(2 * gradient_at(step, p.offset + i));
                    expected[p.offset + i].step(gradient_at(step, p.offset + i),
                                                rates.rate[static_cast<std::size_t>(p.group)],
                                                p.decays() ? config.weight_decay : 0);
                }
            }
            run_team(threads, [&](const Team& team) { optimizer.step(store, rates, 0.5, team); });
            for (Real g : store.gradients()) ASSERT_EQ(g, 0);
        }
        for (const Parameter& p : store.parameters())
            for (std::size_t i = p.offset; i < p.offset + p.size(); ++i) {
                if (p.group == 0) {
                    EXPECT_EQ(store.values()[i], before[i]) << "a frozen weight moved";
                    EXPECT_EQ(optimizer.first_moments()[i], 0);
                    EXPECT_EQ(optimizer.second_moments()[i], 0);
                } else {
                    EXPECT_NEAR(static_cast<double>(store.values()[i]), expected[i].weight,
                                sizeof(Real) == 8 ? 1e-14 : 2e-6);
                }
            }
        EXPECT_EQ(optimizer.updates_by_group(), (std::vector<std::uint64_t>{0, 3, 6}));
    }
}

// The mean by definition: sum of d^(t - s) w_s over the same sum of d^(t - s). Training does not see it.
TEST(OptimizerTest, AveragesTheWeights) {
    constexpr double d = 0.8;
    AdamwConfig averaging = config;
    averaging.average = d;
    for (int threads : {1, 3}) {
        ParameterStore store, plain;
        fill(store, 2);
        fill(plain, 2);
        Optimizer optimizer(store, averaging), other(plain, config);
        std::vector<std::vector<Real>> after;
        for (std::size_t step = 0; step < 7; ++step) {
            const GroupRates rates{{0.05, 0.02}, step < 3 ? 1 : 0};
            for (std::size_t i = 0; i < store.size(); ++i)
                store.gradients()[i] = plain.gradients()[i] = static_cast<Real>(gradient_at(step, i));
            run_team(threads, [&](const Team& team) { optimizer.step(store, rates, 1, team); });
            run_team(1, [&](const Team& team) { other.step(plain, rates, 1, team); });
            after.emplace_back(store.values().begin(), store.values().end());
            for (std::size_t i = 0; i < store.size(); ++i) {
                double sum = 0, weights = 0;
                for (std::size_t s = 0; s < after.size(); ++s) {
                    const double weight = std::pow(d, static_cast<double>(after.size() - 1 - s));
                    sum += weight * static_cast<double>(after[s][i]);
                    weights += weight;
                }
                EXPECT_NEAR(static_cast<double>(optimizer.average()[i]), sum / weights,
                            sizeof(Real) == 8 ? 1e-14 : 1e-6);
            }
        }
        EXPECT_TRUE(std::ranges::equal(store.values(), plain.values()));
        const std::vector<Real> average(optimizer.average().begin(), optimizer.average().end());
        optimizer.exchange_average(store);
        EXPECT_TRUE(std::ranges::equal(store.values(), average));
        EXPECT_TRUE(std::ranges::equal(optimizer.average(), after.back()));
        optimizer.exchange_average(store);
        EXPECT_TRUE(std::ranges::equal(store.values(), after.back()));
        EXPECT_TRUE(other.average().empty());
        other.exchange_average(plain);
        EXPECT_TRUE(std::ranges::equal(plain.values(), after.back()));
    }
}

// A running statistic moves a tenth of the way to what was seen, whatever the rate, decay and clipping.
TEST(OptimizerTest, MovesRunningStatistics) {
    for (int threads : {1, 2}) {
        ParameterStore statistics;
        statistics.declare({.name = "running_variance",
                            .global = {5},
                            .local = {},
                            .slicing = {},
                            .init = Init::one(),
                            .group = 0,
                            .statistic = true});
        statistics.allocate(true);
        statistics.initialize(1);
        Optimizer optimizer(statistics, config);
        Real expected = 1;
        for (Real seen : {Real(3), Real(0.5)}) {
            std::fill(statistics.gradients().begin(), statistics.gradients().end(), seen);
            run_team(threads, [&](const Team& team) { optimizer.step(statistics, {{0.5}, 0}, 0.25, team); });
            expected = Real(0.9) * expected + Real(0.1) * seen;
            for (std::size_t i = 0; i < 5; ++i) {
                EXPECT_NEAR(statistics.values()[i], expected, 1e-6);
                EXPECT_EQ(statistics.gradients()[i], 0);
            }
        }
    }
}

}  // namespace
}  // namespace ulmpi
