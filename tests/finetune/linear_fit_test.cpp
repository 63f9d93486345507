// A whole fit: folds, honesty of what was held out, and the same bits however many ranks share it.
#include "finetune/linear_fit.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random_key.hpp"

namespace ulmpi {
namespace {

struct Set {
    std::vector<std::string> texts;
    std::vector<std::int32_t> labels;
};

/// Texts of a few words out of thirty; a class uses some more often than the others do.
Set made_up_set(std::size_t rows, std::size_t classes) {
    Set set;
    for (std::size_t row = 0; row < rows; ++row) {
        const auto label = row % classes;
        std::string text;
        for (std::size_t word = 0; word < 8; ++word) {
            const std::uint64_t random = random_key(random_key(7, row), word);
            text += "w" + std::to_string(random % 3 == 0 ? label * 10 + random / 8 % 10 : random / 8 % 30) + " ";
        }
        set.texts.push_back(text);
        set.labels.push_back(static_cast<std::int32_t>(label));
    }
    return set;
}

LinearFit fit(const Set& set, std::size_t classes, const Communicator& ranks, const LinearOptions& options = {}) {
    return fit_linear(set.texts, set.labels, classes, options, ranks);
}

Communicator alone() {
    const Communicator world = Communicator::world();
    return world.split(world.rank(), 0);
}

// Where the search has chosen no emphasis, the model of the strength that it has chosen is the search's own.
TEST(LinearFit, OfAStrengthThatIsKnown) {
    int compared = 0;
    for (const std::size_t rows : {12u, 20u, 40u, 80u, 160u}) {
        const Set set = made_up_set(rows, 2);
        const LinearModel searched = fit(set, 2, Communicator::world()).model;
        if (searched.summary().emphasis != 0) continue;
        ++compared;
        const LinearModel known =
            fit_linear_of(searched.summary().strength, set.texts, set.labels, 2, {}, Communicator::world());
        EXPECT_EQ(known.log_probabilities(set.texts, 1), searched.log_probabilities(set.texts, 1));
        EXPECT_EQ(known.summary().rows, rows);
    }
    EXPECT_GT(compared, 0);
}

TEST(StratifiedFolds, AreEvenInAllAndInEachClass) {
    for (std::uint32_t folds = 2; folds <= 5; ++folds)
        for (std::size_t rows = folds; rows < 40; ++rows) {
            std::vector<std::int32_t> labels(rows);
            for (std::size_t i = 0; i < rows; ++i) labels[i] = i % 7 == 0 ? 2 : static_cast<std::int32_t>(i % 2);
            const std::vector<std::uint32_t> fold_of = stratified_folds(labels, 3, folds, rows);
            std::vector<std::uint32_t> all(folds, 0);
            std::vector<std::vector<std::uint32_t>> of_class(3, all);
            for (std::size_t i = 0; i < rows; ++i) {
                ++all.at(fold_of[i]);
                ++of_class[static_cast<std::size_t>(labels[i])][fold_of[i]];
            }
            of_class.push_back(all);
            for (const auto& counts : of_class) EXPECT_LE(std::ranges::max(counts) - std::ranges::min(counts), 1u);
            EXPECT_EQ(fold_of, stratified_folds(labels, 3, folds, rows));
        }
    const std::vector<std::int32_t> labels(40, 0);
    EXPECT_NE(stratified_folds(labels, 1, 5, 1), stratified_folds(labels, 1, 5, 2));
}

TEST(LinearFit, TheSameBitsHoweverManyRanksAndThreadsShareIt) {
    const Set set = made_up_set(60, 3);
    const LinearFit together = fit(set, 3, Communicator::world(), {.threads = 2});
    const LinearFit by_itself = fit(set, 3, alone(), {.threads = 1});
    EXPECT_EQ(together.model.bytes(), by_itself.model.bytes());
    EXPECT_EQ(together.held_out, by_itself.held_out);
}

// The summary is that of the held-out scores, which are worse than those of the model on its own training texts.
TEST(LinearFit, IsJudgedByWhatWasHeldOut) {
    const Set set = made_up_set(90, 3);
    const LinearFit fitted = fit(set, 3, alone());
    const std::vector<float> own = fitted.model.log_probabilities(set.texts, 2);
    double loss = 0, own_loss = 0, errors = 0;
    for (std::size_t i = 0; i < set.labels.size(); ++i) {
        const std::span<const float> row = std::span(fitted.held_out).subspan(i * 3, 3);
        const auto label = static_cast<std::size_t>(set.labels[i]);
        loss -= static_cast<double>(row[label]) / 90;
        own_loss -= static_cast<double>(own[i * 3 + label]) / 90;
        errors += std::ranges::max(row) > row[label];
        EXPECT_NEAR(std::exp(row[0]) + std::exp(row[1]) + std::exp(row[2]), 1, 1e-5);
    }
    EXPECT_NEAR(fitted.model.summary().loss, loss, 1e-9);
    EXPECT_NEAR(fitted.model.summary().error, errors / 90, 1e-9);
    EXPECT_EQ(fitted.model.summary().rows, 90u);
    EXPECT_LT(own_loss, 0.7 * loss);
    EXPECT_LT(errors / 90, 0.5);  // of three classes; words tell
}

// What a row says of its label must not reach its own held-out scores. If the texts of a fold are replaced, its other
// rows are scored by a model that saw none of them, before as after.
TEST(LinearFit, HeldOutScoresDoNotDependOnTheirFold) {
    const Set set = made_up_set(60, 2);
    const LinearFit before = fit(set, 2, alone());
    const std::vector<std::uint32_t> fold_of = stratified_folds(set.labels, 2, 5, 0);
    Set changed = set;
    std::uint32_t kept = 60;
    for (std::uint32_t row = 0; row < 60; ++row)
        if (fold_of[row] == 3 && kept == 60)
            kept = row;
        else if (fold_of[row] == 3)
            changed.texts[row] = "label" + std::to_string(set.labels[row]);
    const LinearFit after = fit(changed, 2, alone());
    ASSERT_EQ(before.model.summary().strength, after.model.summary().strength);
    ASSERT_EQ(before.model.summary().emphasis, after.model.summary().emphasis);
    for (std::size_t c = 0; c < 2; ++c) EXPECT_NEAR(before.held_out[kept * 2 + c], after.held_out[kept * 2 + c], 1e-5);
    EXPECT_NE(before.model.bytes(), after.model.bytes());
}

TEST(LinearFit, FewRowsRareClassesAndEmptyTexts) {
    const std::vector<Set> sets{{{"a", "b"}, {0, 1}},
                                {{"", ""}, {0, 1}},
                                {{"a", "a b", "b", "c", "a c", ""}, {0, 0, 1, 1, 0, 2}},
                                made_up_set(20, 2)};
    for (const Set& set : sets) {
        const LinearFit fitted = fit(set, 3, Communicator::world());  // a class that no row is of
        EXPECT_EQ(fitted.held_out.size(), set.labels.size() * 3);
        std::vector<float> scores(3);
        fitted.model.log_probabilities(scores, set.texts[0]);
        for (const float score : scores) EXPECT_TRUE(std::isfinite(score));
        for (const float score : fitted.held_out) EXPECT_TRUE(std::isfinite(score));
        EXPECT_EQ(LinearModel::from_bytes(fitted.model.bytes()).bytes(), fitted.model.bytes());
    }
}

TEST(LinearFit, WeightsOfClassesMoveTheBias) {
    Set set = made_up_set(60, 2);
    const LinearFit even = fit(set, 2, alone());
    const LinearFit tilted = fit(set, 2, alone(), {.class_weights = {10, 1}});
    std::vector<float> a(2), b(2);
    even.model.log_probabilities(a, "unknown");
    tilted.model.log_probabilities(b, "unknown");
    EXPECT_GT(b[0] - b[1], a[0] - a[1] + 1);
}

// Too many n-grams for the room given: the rare ones go, the model stays useful.
TEST(LinearFit, KeepsToItsRoom) {
    const Set set = made_up_set(90, 3);
    const LinearFit small = fit(set, 3, alone(), {.most_weights = 90});
    EXPECT_LT(small.model.bytes().size(), fit(set, 3, alone()).model.bytes().size() / 2);
    EXPECT_LT(small.model.summary().error, 0.55);
}

}  // namespace
}  // namespace ulmpi
