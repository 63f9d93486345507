// Which rows are used for what. Oracles: counting; the definitions.

#include "jobs/fit_rows.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

namespace ulmpi {
namespace {

/// 1,000 rows of classes that have 1, 2, 97 and 900 of them.
std::vector<std::int32_t> uneven_labels() {
    std::vector<std::int32_t> labels(900, 3);
    labels.insert(labels.end(), {0, 1, 1});
    labels.insert(labels.end(), 97, 2);
    std::shuffle(labels.begin(), labels.end(), std::mt19937(1));
    return labels;
}

std::vector<int> counted(std::span<const std::int32_t> labels, std::span<const std::uint32_t> rows) {
    std::vector<int> counts(4, 0);
    for (const std::uint32_t row : rows) ++counts[static_cast<std::size_t>(labels[row])];
    return counts;
}

TEST(FitRows, ASampleKeepsEveryClassAndItsShare) {
    const std::vector<std::int32_t> labels = uneven_labels();
    std::set<std::uint32_t> smaller;
    for (const std::uint64_t count : {4u, 10u, 100u, 500u, 999u, 1000u, 5000u}) {
        const std::vector<std::uint32_t> rows = stratified_sample(labels, 4, count, 7);
        EXPECT_EQ(rows.size(), std::min<std::uint64_t>(count, 1000));
        EXPECT_TRUE(std::ranges::is_sorted(rows));
        const std::set<std::uint32_t> now(rows.begin(), rows.end());
        EXPECT_EQ(now.size(), rows.size());
        EXPECT_TRUE(std::ranges::includes(now, smaller));  // a larger sample holds the smaller one
        smaller = now;
        const std::vector<int> counts = counted(labels, rows);
        for (const int n : counts) EXPECT_GE(n, 1);
        EXPECT_NEAR(counts[3], 0.9 * static_cast<double>(rows.size()), 3);
    }
    EXPECT_NE(stratified_sample(labels, 4, 100, 7), stratified_sample(labels, 4, 100, 8));
}

TEST(FitRows, ARandomSampleHasEachRowAsOften) {
    EXPECT_EQ(random_sample(4, 9, 1), (std::vector<std::uint32_t>{0, 1, 2, 3}));
    std::vector<int> times(10, 0);
    for (std::uint64_t seed = 0; seed < 4000; ++seed) {
        const std::vector<std::uint32_t> rows = random_sample(10, 3, seed);
        EXPECT_EQ(rows.size(), 3u);
        EXPECT_TRUE(std::ranges::is_sorted(rows) && std::ranges::adjacent_find(rows) == rows.end());
        for (const std::uint32_t row : rows) ++times.at(row);
    }
    // 1,200 expected; standard deviation sqrt(4000 × 0.3 × 0.7) = 29
    for (const int of_row : times) EXPECT_NEAR(of_row, 1200, 5 * 29);
}

TEST(FitRows, EvenlyTakesItsShare) {
    for (const double share : {0.001, 0.3, 1.0}) {
        const auto takes = evenly(share);
        int taken = 0;
        for (std::uint64_t document = 0; document < 10000; ++document) taken += takes(document);
        EXPECT_NEAR(taken, share * 10000, 1);
        EXPECT_TRUE(takes(0));
    }
}

TEST(FitRows, RowsOfASet) {
    LabelledSet set;
    set.classes = {"a", "b", "c"};
    set.labels = {0, 1, 0};
    set.tokens = {10, 11, 12, 13, 14, 15};
    set.starts = {0, 1, 3, 6};
    set.texts = {"one", "two", "three"};
    const LabelledSet part = rows_of(set, std::vector<std::uint32_t>{2, 0});
    EXPECT_EQ(part.classes, set.classes);
    EXPECT_EQ(part.labels, (std::vector<std::int32_t>{0, 0}));
    EXPECT_EQ(part.tokens, (std::vector<Token>{13, 14, 15, 10}));
    EXPECT_EQ(part.starts, (std::vector<std::uint64_t>{0, 3, 4}));
    EXPECT_EQ(part.texts, (std::vector<std::string>{"three", "one"}));
    EXPECT_EQ(texts_among(set, part), (std::vector<bool>{true, false, true}));
}

}  // namespace
}  // namespace ulmpi
