// What fit plans for the time that it is given. Oracles: arithmetic by hand; what must hold of every plan.

#include "jobs/fit_plan.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <random>

#include "base/error.hpp"

namespace ulmpi {
namespace {

/// Rows of 10 tokens, text of as many as given, contexts of 100; a token of either stage takes a millisecond.
FitFacts facts_of(std::vector<std::uint64_t> rows_of_class, std::uint64_t text_tokens, bool has_test) {
    FitFacts facts{
        .rows_of_class = std::move(rows_of_class), .has_test = has_test, .text_tokens = text_tokens, .context = 100};
    facts.tokens = 10 * facts.rows();
    facts.judged_rows = has_test ? 200 : 0;
    facts.judged_tokens = 10 * facts.judged_rows;
    return facts;
}
constexpr FitSpeed speed{.text = 1000, .classifier = 1000, .prediction = 2000, .encoding = 1e12, .linear = 0, .run = 0};

FitPlan plan(const FitFacts& facts, double seconds) { return plan_fit(facts, speed, seconds, 0); }

// 15 epochs of 5,000 tokens each, 75 s; without a fold 60.5 s, as it judges 1,000 tokens. The text is read ten times:
// 60 s.
TEST(FitPlan, TakesWhatItWantsWhereThereIsTime) {
    const FitPlan p = plan(facts_of({250, 250}, 6000, true), 2000);
    EXPECT_EQ(p.classifier.rows, 500u);
    EXPECT_EQ(p.classifier.epochs, 15);
    EXPECT_EQ(p.classifier.batch, 16u);
    EXPECT_EQ(p.classifier.folds, 5u);
    EXPECT_EQ(p.classifier.folds_held, 2u);
    EXPECT_EQ(p.classifier.members, 3u);
    EXPECT_EQ(p.text.read, 60000u);
    EXPECT_EQ(p.text.tokens, 6000u);
    EXPECT_EQ(p.text.batch, 4u);
    EXPECT_NEAR(p.classifier.member_seconds, 75, 1e-9);
    EXPECT_NEAR(p.classifier.fold_seconds, 60.5, 1e-9);
    EXPECT_NEAR(p.classifier.judging, 3, 1e-9);  // three times 2,000 tokens
    EXPECT_NEAR(p.seconds(), 2 * 60.5 + 3 * 75 + 60 + 3, 1e-6);
}

// 60 s of text and, of each case, what 0.9 of the time holds of 60.5, 75, 60.5, 75, 60.5, 60.5, 60.5, 75 s. In the last
// but one the text gives way to the first network's epochs, in the last as far as three quarters of the time.
TEST(FitPlan, TrainsAsManyNetworksAsThereIsTimeFor) {
    const FitFacts facts = facts_of({250, 250}, 6000, false);
    struct Case {
        double seconds;
        std::uint32_t folds_held, members;
        int epochs;
    };
    for (const Case& c : {Case{2000, 5, 3, 15},
                          {500, 3, 2, 15},
                          {300, 2, 1, 15},
                          {250, 1, 1, 15},
                          {150, 1, 0, 15},
                          {130, 1, 0, 15},
                          {88, 1, 0, 14}}) {
        const FitPlan p = plan(facts, c.seconds);
        EXPECT_EQ(p.classifier.folds, 5u);
        EXPECT_EQ(p.classifier.folds_held, c.folds_held) << c.seconds;
        EXPECT_EQ(p.classifier.members, c.members) << c.seconds;
        EXPECT_EQ(p.classifier.epochs, c.epochs) << c.seconds;
        EXPECT_NEAR(p.classifier.fold_seconds, 4.0 * c.epochs + 0.5, 1e-9);
    }
    EXPECT_NEAR(plan(facts, 130).text.seconds, 0.9 * 130 - 60.5, 0.4);  // whole updates
    EXPECT_NEAR(plan(facts, 88).text.seconds, 0.9 * 88 - 56.5, 0.4);
}

TEST(FitPlan, TrainsNoMoreNetworksThanWereAskedFor) {
    const FitFacts facts = facts_of({250, 250}, 6000, true);
    for (const auto& [most, folds_held, members] : {std::tuple{1u, 1u, 0u}, {2u, 1u, 1u}, {3u, 1u, 2u}, {8u, 2u, 3u}}) {
        const FitPlan p = plan_fit(facts, speed, 1e6, 0, {.most_networks = most});
        EXPECT_EQ(p.classifier.folds_held, folds_held) << most;
        EXPECT_EQ(p.classifier.members, members) << most;
        EXPECT_EQ(p.classifier.epochs, 15);
    }
}

TEST(FitPlan, TrainsAsOftenAsWasAskedFor) {
    for (const int epochs : {1, 4, 40}) {
        FitRecipe recipe;
        recipe.best.least_epochs = recipe.best.most_epochs = recipe.best.most_epochs_of_few = epochs;
        EXPECT_EQ(plan_fit(facts_of({250, 250}, 6000, true), speed, 1e6, 0, recipe).classifier.epochs, epochs);
        EXPECT_LE(plan_fit(facts_of({250, 250}, 6000, true), speed, 40, 0, recipe).classifier.epochs, epochs);
        EXPECT_EQ(plan_fit(facts_of({10, 10}, 0, false), speed, 1e6, 0, recipe).classifier.epochs, epochs);
    }
}

// 20,000 rows of 10 tokens take one network 100 s. Of 200 s 0.15 are 30 s; of 10 hours all of them are judged, by three
// networks. 500 rows are judged however long they take.
TEST(FitPlan, JudgesASampleWhereAllWouldTakeTooLong) {
    FitFacts facts = facts_of({50, 50}, 0, true);
    facts.judged_rows = 20000;
    facts.judged_tokens = 200000;
    const auto with = [&](double seconds, double spent) {
        return plan_fit(facts, speed, seconds - spent, spent).classifier;
    };
    EXPECT_NEAR(with(200, 0).judged, 0.3, 1e-9);
    EXPECT_NEAR(with(200, 0).judging, 0.3 * 100 * with(200, 0).averaged(), 1e-9);
    EXPECT_NEAR(with(200, 50).judged, 0.3, 1e-9);  // however much of the minutes is left
    EXPECT_EQ(with(36000, 0).judged, 1);
    EXPECT_NEAR(with(36000, 0).judging, 300, 1e-9);
    facts.judged_tokens = 20000000;
    EXPECT_NEAR(with(2000, 0).judged, 0.03, 1e-9);
    EXPECT_NEAR(with(1000, 0).judged, 500.0 / 20000, 1e-9);
    facts.judged_rows = 400;
    facts.judged_tokens = 200000;
    EXPECT_EQ(with(1000, 0).judged, 1);
}

// Each document of 20 tokens takes 0.01 s. Of 100 s of stage 3 (1000 / 9 in all) the networks have 80, where one
// without a fold takes 60.5; what they leave, 39.5 s, is 3,950 documents. With 300 s there are two folds and one of all
// rows: 60.5 + 75 + 60.5, and 104 s for the three of them; 10,000 are the most. What is fewer than the rows is left
// alone.
TEST(FitPlan, PseudoLabelsHaveAShare) {
    FitFacts facts = facts_of({250, 250}, 0, false);
    FitSpeed s = speed;
    s.linear_once = 1e-12;
    const auto with = [&](double seconds) { return plan_fit(facts, s, seconds / 0.9, 0).classifier; };
    const auto without = [&](double seconds) { return plan_fit(facts, speed, seconds / 0.9, 0).classifier; };
    const auto documents = [&](std::uint64_t count) {
        facts.unlabelled = count;
        facts.unlabelled_tokens = 20 * count;
    };
    documents(100000);
    EXPECT_EQ(with(100).networks(), 1u);
    EXPECT_NEAR(static_cast<double>(with(100).pseudo), 3950, 1);
    EXPECT_NEAR(with(100).pseudo_seconds, 39.5, 0.02);
    EXPECT_EQ(with(300).labelling(), 3u);
    EXPECT_NEAR(static_cast<double>(with(300).pseudo), 100 * (300 - 2 * 60.5 - 75) / 3, 1);
    EXPECT_EQ(with(1e6).pseudo, 10000u);
    EXPECT_EQ(with(70).epochs, 13);  // within 0.8 of it: 13 times 4 s, and 0.5 s
    EXPECT_EQ(without(70).epochs, 15);
    EXPECT_EQ(without(1e6).pseudo, 0u);
    // What cannot be had takes nothing from the networks.
    for (const std::uint64_t few : {0u, 199u, 499u}) {
        documents(few);
        for (const double seconds : {40., 70., 300., 1e6}) {
            EXPECT_EQ(with(seconds).pseudo, 0u);
            EXPECT_EQ(with(seconds).epochs, without(seconds).epochs);
            EXPECT_EQ(with(seconds).networks(), without(seconds).networks());
        }
    }
    facts = facts_of({1, 300}, 0, false);  // nothing can be held out that would tell what they are worth
    documents(100000);
    EXPECT_EQ(with(1e6).pseudo, 0u);
    EXPECT_EQ(with(40).epochs, without(40).epochs);
}

TEST(FitPlan, NetworksInTheOrderOfTheirWorth) {
    using Order = std::vector<Network>;
    EXPECT_EQ(networks_in_order(5, true), (Order{{1, 0}, {0, 1}, {0, 2}, {0, 3}, {2, 0}}));
    EXPECT_EQ(networks_in_order(5, false), (Order{{1, 0}, {0, 1}, {2, 0}, {0, 2}, {3, 0}, {4, 0}, {5, 0}, {0, 3}}));
    EXPECT_EQ(networks_in_order(2, false), (Order{{1, 0}, {0, 1}, {2, 0}, {0, 2}, {0, 3}}));
    EXPECT_EQ(networks_in_order(0, false), (Order{{0, 1}, {0, 2}, {0, 3}}));
    ClassifierPlan plan;
    take_networks(plan, networks_in_order(5, false), 3);
    EXPECT_EQ(plan.folds_held, 2u);
    EXPECT_EQ(plan.members, 1u);
}

// Three quarters of the time, 0.9 × 1,200 s. A row of 10 tokens takes 2 × 0.8 ms in two epochs of 4/5 of the rows, and
// 1 ms as one of the fifth that is judged. Text of 2,700,000 tokens goes in a third as much.
TEST(FitPlan, SamplesRowsAndTextThatAreTooMany) {
    FitFacts facts = facts_of({400000, 100000}, 11000000, true);
    facts.judged_rows = facts.judged_tokens = 0;
    FitSpeed fast = speed;
    fast.text = fast.classifier = 10000;
    const FitPlan p = plan_fit(facts, fast, 1200, 0);
    EXPECT_NEAR(static_cast<double>(p.classifier.rows), 810 / 0.0026, 1);
    EXPECT_EQ(p.classifier.epochs, 2);
    EXPECT_EQ(p.classifier.batch, 32u);
    EXPECT_EQ(p.text.batch, 16u);
    EXPECT_NEAR(static_cast<double>(p.text.read), 2700000, 1600);
    EXPECT_EQ(p.text.tokens, p.text.read);
}

// The words may have a quarter of stage 3's time, whatever the networks learn from.
TEST(FitPlan, TheLinearModelLearnsFromMoreRowsThanTheNetworks) {
    const FitFacts facts = facts_of({400000, 100000}, 0, true);
    FitSpeed s = speed;
    s.linear = 1e-6;  // 10 tokens a row: 5 s for all
    const ClassifierPlan cheap = plan_fit(facts, s, 1200, 0).classifier;
    EXPECT_LT(cheap.rows, 400000u);
    EXPECT_EQ(cheap.words_rows, 500000u);
    s.linear = 1e-4;
    const ClassifierPlan dear = plan_fit(facts, s, 1200, 0).classifier;
    EXPECT_GT(dear.words_rows, dear.rows);
    EXPECT_NEAR(dear.comparing, 0.25 * 0.9 * 1200, 1);
    EXPECT_EQ(fit_plan_from(to_json(FitPlan{{}, dear})).classifier.words_rows, dear.words_rows);
}

TEST(FitPlan, FewRows) {
    const FitPlan twenty = plan(facts_of({10, 10}, 240, false), 1000);
    EXPECT_EQ(twenty.classifier.folds, 5u);
    EXPECT_EQ(twenty.classifier.folds_held, 5u);
    EXPECT_EQ(twenty.classifier.members, 3u);
    EXPECT_EQ(twenty.classifier.rows, 20u);
    EXPECT_EQ(twenty.classifier.epochs, 150);
    EXPECT_EQ(twenty.text.read, 0u);  // not four contexts long
    EXPECT_EQ(plan(facts_of({5, 7}, 0, false), 100).classifier.folds, 3u);
    // Without its only row a class is none, and without either of the others one is left.
    const FitPlan single = plan(facts_of({5, 1, 1}, 0, false), 100);
    EXPECT_EQ(single.classifier.folds, 0u);
    EXPECT_EQ(single.classifier.folds_held, 0u);
    EXPECT_EQ(single.classifier.members, 3u);
}

// 22 epochs of 7 updates over 100 rows but a fifth: 17.6 s, 0.1 and 1 s to judge; 20 updates of 4 contexts: 8 s. 26.7 s
// are 0.9 of 29.7 s.
TEST(FitPlan, RefusesTooFewMinutesWithTheLeastThatDoes) {
    const FitFacts facts = facts_of({250, 250}, 6000, true);
    try {
        plan(facts, 29);
        ADD_FAILURE() << "too little is enough";
    } catch (const UsageError& error) {
        EXPECT_NE(std::string(error.what()).find("--minutes 0.5 or more"), std::string::npos) << error.what();
    }
    const FitPlan p = plan(facts, 30);
    EXPECT_GE(p.classifier.rows, 100u);
    EXPECT_GE(p.text.read, 8000u);
    EXPECT_LE(p.seconds(), 0.9 * 30);
    // What went before belongs to the minutes: 30 s more.
    try {
        plan_fit(facts, speed, 29, 30);
        ADD_FAILURE() << "too little is enough";
    } catch (const UsageError& error) {
        EXPECT_NE(std::string(error.what()).find("--minutes 1.0 or more"), std::string::npos) << error.what();
    }
    // Once work has begun it goes on with the least.
    EXPECT_EQ(plan_rest(facts, speed, -5, 0).classifier.rows, 100u);
}

TEST(FitPlan, KeepsToItsTimeWhateverTheTask) {
    std::mt19937 draw(1);
    const auto between = [&](double low, double high) {
        return low * std::pow(high / low, std::uniform_real_distribution<>(0, 1)(draw));
    };
    int planned = 0;
    for (int trial = 0; trial < 2000; ++trial) {
        FitFacts facts;
        for (std::size_t c = 0; c < 2 + draw() % 20; ++c)
            facts.rows_of_class.push_back(static_cast<std::uint64_t>(between(1, 20000)));
        facts.tokens = static_cast<std::uint64_t>(between(1, 1000) * static_cast<double>(facts.rows()));
        facts.has_test = draw() % 2 == 0;
        facts.judged_rows = facts.has_test ? static_cast<std::uint64_t>(between(1, 1e5)) : 0;
        facts.judged_tokens = static_cast<std::uint64_t>(between(1, 1000) * static_cast<double>(facts.judged_rows));
        facts.text_tokens = static_cast<std::uint64_t>(between(1, 1e9));
        facts.context = std::size_t{32} << draw() % 5;
        facts.unlabelled = draw() % 2 == 0 ? 0 : static_cast<std::uint64_t>(between(1, 1e6));
        facts.unlabelled_tokens = static_cast<std::uint64_t>(between(1, 1000) * static_cast<double>(facts.unlabelled));
        facts.replicas = 1 + draw() % 40;
        const FitSpeed s{between(100, 1e6),
                         between(100, 1e6),
                         between(1e3, 1e7),
                         between(1e4, 1e6),
                         draw() % 2 == 0 ? 0 : between(1e-6, 1e-2),
                         between(1e-7, 1e-3),
                         between(0.1, 20)};
        const double seconds = between(1, 1e5);
        try {
            const FitPlan p = plan_fit(facts, s, seconds, 0);
            ++planned;
            EXPECT_LE(p.seconds(), 0.9 * seconds * (1 + 1e-9));
            EXPECT_GE(p.classifier.rows, 1u);
            EXPECT_LE(p.classifier.pseudo, facts.unlabelled);
            EXPECT_GT(p.classifier.judged, 0);
            EXPECT_LE(p.classifier.judged, 1);
            EXPECT_LE(p.classifier.rows, facts.rows());
            EXPECT_GE(p.classifier.epochs, 2);
            EXPECT_GE(p.classifier.networks(), 1u);
            EXPECT_LE(p.classifier.folds_held, p.classifier.folds);
            EXPECT_GE(p.classifier.batch, facts.replicas);
            EXPECT_EQ(p.text.read % std::max<std::size_t>(1, p.text.batch * facts.context), 0u);
            EXPECT_LE(p.text.tokens, facts.text_tokens);
            EXPECT_LE(p.text.latest, seconds);
            const FitPlan again = fit_plan_from(nlohmann::json::parse(to_json(p).dump()));
            EXPECT_EQ(to_json(again), to_json(p));
        } catch (const UsageError& error) {
            // The least that is named does.
            const std::string text = error.what(), mark = "give --minutes ";
            const double minutes = std::stod(text.substr(text.find(mark) + mark.size()));
            EXPECT_GT(60 * minutes, seconds);
            EXPECT_NO_THROW(plan_fit(facts, s, 60 * minutes, 0)) << text;
        }
    }
    EXPECT_GT(planned, 500);
}

}  // namespace
}  // namespace ulmpi
