// Network and words, stacked. Oracles: a grid search; the definitions, counted by hand.

#include "finetune/stacking.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace ulmpi {
namespace {

struct Rows {
    std::vector<std::int32_t> labels;
    std::vector<float> network, words;  // probabilities and logarithms
    std::size_t classes = 3;
    HeldOut held_out() const { return {labels, network, words, classes}; }
    HeldOut without_words() const { return {labels, network, {}, classes}; }
};

/// Scores that favour the truth by `network` and `words` times a normal number, the network's `sure` times too large.
Rows rows_of(std::size_t count, double network, double words, double sure, unsigned seed) {
    std::mt19937 draw(seed);
    std::normal_distribution<> normal;
    Rows rows;
    for (std::size_t i = 0; i < count; ++i) {
        const auto label = static_cast<std::size_t>(draw() % rows.classes);
        rows.labels.push_back(static_cast<std::int32_t>(label));
        const auto log_probabilities = [&](double favour, double scale) {
            std::vector<double> scores(rows.classes);
            double sum = 0;
            for (std::size_t c = 0; c < rows.classes; ++c)
                scores[c] = scale * (normal(draw) + (c == label ? favour : 0));
            for (const double score : scores) sum += std::exp(score);
            for (double& score : scores) score -= std::log(sum);
            return scores;
        };
        for (const double log : log_probabilities(network, sure)) rows.network.push_back(float(std::exp(log)));
        for (const double log : log_probabilities(words, 1)) rows.words.push_back(float(log));
    }
    return rows;
}

/// f written out, without any of the code under test.
double loss(double a, double b, const Rows& rows, bool words = true) {
    double sum = ((a - 1) * (a - 1) + b * b) / 2;
    for (std::size_t i = 0; i < rows.labels.size(); ++i) {
        double total = 0, truth = 0;
        for (std::size_t c = 0; c < rows.classes; ++c) {
            const std::size_t at = i * rows.classes + c;
            const double score = a * std::log(double(rows.network[at])) + (words ? b * double(rows.words[at]) : 0);
            total += std::exp(score);
            if (c == static_cast<std::size_t>(rows.labels[i])) truth = score;
        }
        sum += std::log(total) - truth;
    }
    return sum;
}

/// The best of a grid, made finer around its best point five times.
std::pair<double, double> searched(const Rows& rows, bool words) {
    double a = 2, b = words ? 2 : 0, width = 2;
    for (int round = 0; round < 8; ++round, width /= 4) {
        double best = std::numeric_limits<double>::infinity(), best_a = 0, best_b = 0;
        for (int i = -8; i <= 8; ++i)
            for (int j = words ? -8 : 0; j <= (words ? 8 : 0); ++j) {
                const double at = std::max(0.0, a + i * width / 8), bt = std::max(0.0, b + j * width / 8);
                if (const double f = loss(at, bt, rows, words); f < best) best = f, best_a = at, best_b = bt;
            }
        a = best_a, b = best_b;
    }
    return {a, b};
}

TEST(Stacking, IsTheLeastLossThatAGridSearchFinds) {
    struct Case {
        double network, words, sure;
    };
    for (const Case& c : {Case{1, 1, 1}, {2, 1, 4}, {1, 2, 0.3}, {1.5, -1, 1}, {-1, 2, 2}, {-1, -1, 1}, {0, 0, 1}})
        for (const std::size_t count : {1u, 5u, 40u, 400u}) {
            const Rows rows = rows_of(count, c.network, c.words, c.sure, 7 + unsigned(count));
            const Stack both = learn_stack(rows.held_out()), alone = learn_stack(rows.without_words());
            const auto [a, b] = searched(rows, true);
            EXPECT_LE(loss(both.network, both.words, rows), loss(a, b, rows) + 1e-9);
            EXPECT_NEAR(both.network, a, 2e-3) << count;
            EXPECT_NEAR(both.words, b, 2e-3) << count;
            EXPECT_NEAR(stack_objective(both, rows.held_out()), loss(both.network, both.words, rows), 1e-4);
            EXPECT_NEAR(alone.network, searched(rows, false).first, 2e-3) << count;
            EXPECT_EQ(alone.words, 0);
            EXPECT_GE(both.network, 0);
            EXPECT_GE(both.words, 0);
        }
}

TEST(Stacking, AModelThatSaysTheContraryIsLeftOut) {
    EXPECT_EQ(learn_stack(rows_of(400, -1, 2, 1, 1).held_out()).network, 0);
    EXPECT_EQ(learn_stack(rows_of(400, 2, -1, 1, 1).held_out()).words, 0);
}

// Of normal scores of deviation 1 whose truth is favoured by f, Bayes' factor is f; f / s where they are s times as
// large.
TEST(Stacking, FindsTheTemperature) {
    const Rows right = rows_of(20000, 1, 0, 1, 3);
    EXPECT_NEAR(learn_stack(right.without_words()).network, 1, 0.05);
    EXPECT_NEAR(learn_stack(rows_of(20000, 1, 0, 4, 3).without_words()).network, 0.25, 0.02);
    // Two independent witnesses: by Bayes their logarithms add.
    const Stack both = learn_stack(rows_of(20000, 1, 1, 2, 4).held_out());
    EXPECT_NEAR(both.network, 0.5, 0.03);
    EXPECT_NEAR(both.words, 1, 0.05);
}

TEST(Stacking, NothingToLearnFrom) {
    EXPECT_EQ(learn_stack({{}, {}, {}, 3}), Stack());
    Rows one_class = rows_of(20, 1, 1, 1, 5);  // two classes are not among the rows held out
    std::ranges::fill(one_class.labels, 1);
    const Stack stack = learn_stack(one_class.held_out());
    EXPECT_TRUE(std::isfinite(stack.network) && std::isfinite(stack.words));
    const Rows all_right = rows_of(500, 30, 30, 1, 6);
    const Stack sure = learn_stack(all_right.held_out());
    EXPECT_LT(sure.network, 10);
    EXPECT_LT(sure.words, 10);
    // Probabilities that floats hold as 0 and 1, of the wrong class too.
    const std::vector<float> certain{1, 0, 0, 0, 1, 0};
    const std::vector<float> impossible(6, -std::numeric_limits<float>::infinity());
    for (const std::int32_t second : {1, 2}) {
        const std::vector<std::int32_t> labels{0, second};
        const Stack learnt = learn_stack({labels, certain, impossible, 3});
        EXPECT_TRUE(std::isfinite(learnt.network) && std::isfinite(learnt.words));
        for (const float p : stacked(learnt, certain, impossible, 3)) EXPECT_TRUE(p >= 0 && p <= 1);
    }
}

TEST(Stacking, Applies) {
    const std::vector<float> network{0.5f, 0.25f, 0.25f}, words{std::log(0.2f), std::log(0.2f), std::log(0.6f)};
    const std::vector<float> as_it_was = stacked({1, 0}, network, {}, 3);
    for (std::size_t c = 0; c < 3; ++c) EXPECT_NEAR(as_it_was[c], network[c], 1e-6);
    const std::vector<float> both = stacked({2, 1}, network, words, 3);  // 0.25 × 0.2, 0.0625 × 0.2, 0.0625 × 0.6
    EXPECT_NEAR(both[0], 0.05 / 0.1, 1e-6);
    EXPECT_NEAR(both[1], 0.0125 / 0.1, 1e-6);
    EXPECT_NEAR(both[2], 0.0375 / 0.1, 1e-6);
}

// Of (0.5, 0.5) and (0.1, 0.9): sqrt(0.05) and sqrt(0.45), whose ratio is 1 : 3.
TEST(Stacking, MeanOfNetworks) {
    const std::vector<std::vector<float>> networks{{0.5f, 0.5f, 1, 0}, {0.1f, 0.9f, 1, 0}};
    const std::vector<float> mean = mean_of(networks, 2);
    ASSERT_EQ(mean.size(), 4u);
    EXPECT_NEAR(mean[0], 0.25, 1e-6);
    EXPECT_NEAR(mean[1], 0.75, 1e-6);
    EXPECT_NEAR(mean[2], 1, 1e-6);
    EXPECT_NEAR(mean[3], 0, 1e-6);
    const std::vector<float> alone = mean_of(std::span(networks).first(1), 2);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(alone[i], networks[0][i], 1e-6);
}

TEST(Stacking, CrossFittedRowsDoNotSeeThemselves) {
    // What is said of a row does not change with its own label, other than by the part that it is dealt to.
    const Rows rows = rows_of(300, 1, 1, 3, 8);
    const std::vector<float> all = cross_fitted(rows.held_out(), 1);
    ASSERT_EQ(all.size(), rows.network.size());
    const std::vector<float> fitted = stacked(learn_stack(rows.held_out()), rows.network, rows.words, rows.classes);
    double own = 0, crossed = 0;
    for (std::size_t i = 0; i < rows.labels.size(); ++i) {
        const std::size_t truth = i * rows.classes + static_cast<std::size_t>(rows.labels[i]);
        own -= std::log(double(fitted[truth]));
        crossed -= std::log(double(all[truth]));
    }
    EXPECT_GT(crossed, own);  // the fit of all rows is the best for all rows
    EXPECT_LT(crossed, own + 4);
    EXPECT_EQ(cross_fitted({{}, {}, {}, 3}, 1).size(), 0u);
    const Rows single = rows_of(1, 1, 1, 1, 9);
    const std::vector<float> unseen = cross_fitted(single.held_out(), 1);  // by what no rows teach
    for (std::size_t c = 0; c < 3; ++c) EXPECT_NEAR(unseen[c], single.network[c], 1e-6);
}

// 0.9 and right, 0.95 and wrong: bins 13 and 14. 0.5 right, 0.51 wrong: both in bin 7.
TEST(Stacking, CalibrationError) {
    const std::vector<float> p{0.9f, 0.1f, 0.95f, 0.05f, 0.5f, 0.5f, 0.49f, 0.51f};
    const std::vector<std::int32_t> labels{0, 1, 0, 0};
    EXPECT_NEAR(calibration_error(labels, p, 2), (0.1 + 0.95 + std::abs(1 - 1.01)) / 4, 1e-6);
    EXPECT_EQ(calibration_error({}, {}, 2), 0);
    const std::vector<std::int32_t> right{0};
    EXPECT_EQ(calibration_error(right, std::vector<float>{1, 0}, 2), 0);
}

}  // namespace
}  // namespace ulmpi
