#include "finetune/classification_report.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <random>

namespace ulmpi {
namespace {

// Worked by hand: 2 of 3 a's right, the b taken for an a, no c at all, one a taken for a c.
TEST(ClassificationReport, ByHand) {
    const std::vector<std::int32_t> labels{0, 0, 0, 1};
    const std::vector<float> probabilities{0.7f, 0.2f, 0.1f, 0.5f, 0.25f, 0.25f, 0.1f, 0.1f, 0.8f, 0.6f, 0.3f, 0.1f};
    const ClassificationReport report = classification_report({"a", "b", "c"}, labels, probabilities);
    EXPECT_EQ(report.n, 4u);
    EXPECT_EQ(report.correct, 2u);
    EXPECT_DOUBLE_EQ(report.accuracy(), 0.5);
    EXPECT_DOUBLE_EQ(report.scores[0].precision(), 2.0 / 3);
    EXPECT_DOUBLE_EQ(report.scores[0].recall(), 2.0 / 3);
    EXPECT_DOUBLE_EQ(report.scores[0].f1(), 2.0 / 3);
    EXPECT_DOUBLE_EQ(report.scores[1].precision(), 0);
    EXPECT_DOUBLE_EQ(report.scores[1].f1(), 0);
    EXPECT_DOUBLE_EQ(report.scores[2].recall(), 0);
    EXPECT_DOUBLE_EQ(report.macro_f1(), 1.0 / 3);  // of the two classes that occur
    EXPECT_EQ(report.confusion, (std::vector<std::vector<std::uint64_t>>{{2, 0, 1}, {1, 0, 0}, {0, 0, 0}}));
    EXPECT_NEAR(report.loss, -(std::log(0.7) + std::log(0.5) + std::log(0.1) + std::log(0.3)) / 4, 1e-7);
}

// Against the definitions: precision and recall from the confusion's columns and rows.
TEST(ClassificationReport, AgreesWithItsConfusion) {
    std::mt19937 draw(1);
    for (std::size_t classes : {2u, 3u, 7u}) {
        std::vector<std::string> names;
        for (std::size_t c = 0; c < classes; ++c) names.push_back("class " + std::to_string(c));
        std::vector<std::int32_t> labels(200);
        std::vector<float> probabilities(labels.size() * classes);
        for (std::int32_t& label : labels) label = static_cast<std::int32_t>(draw() % classes);
        for (float& p : probabilities) p = static_cast<float>(draw() % 1000 + 1) / 1000;
        const ClassificationReport report = classification_report(names, labels, probabilities);
        std::uint64_t diagonal = 0;
        double f1 = 0;
        for (std::size_t c = 0; c < classes; ++c) {
            std::uint64_t row = 0, column = 0;
            for (std::size_t other = 0; other < classes; ++other) {
                row += report.confusion[c][other];
                column += report.confusion[other][c];
            }
            const auto right = static_cast<double>(report.confusion[c][c]);
            const double precision = right / static_cast<double>(column), recall = right / static_cast<double>(row);
            EXPECT_DOUBLE_EQ(report.scores[c].precision(), precision);
            EXPECT_DOUBLE_EQ(report.scores[c].recall(), recall);
            EXPECT_NEAR(report.scores[c].f1(), right > 0 ? 2 * precision * recall / (precision + recall) : 0, 1e-12);
            f1 += report.scores[c].f1();
            diagonal += report.confusion[c][c];
        }
        EXPECT_EQ(report.correct, diagonal);
        EXPECT_NEAR(report.macro_f1(), f1 / static_cast<double>(classes), 1e-12);
    }
}

TEST(ClassificationReport, TheFirstOfEqualsIsTaken) {
    EXPECT_EQ(best_class(std::vector<float>{0.25f, 0.375f, 0.375f}), 1u);
    EXPECT_EQ(best_class(std::vector<float>{0.5f, 0.5f}), 0u);
}

TEST(ClassificationReport, NothingToJudgeIsNoDivisionByZero) {
    const ClassificationReport report = classification_report({"a", "b"}, {}, {});
    EXPECT_EQ(report.accuracy(), 0);
    EXPECT_EQ(report.macro_f1(), 0);
    EXPECT_EQ(report.loss, 0);
    EXPECT_EQ(report.record("test", true)["error"], 0);
}

// A probability that underflowed to zero costs much, not everything.
TEST(ClassificationReport, ImpossibleIsFinite) {
    const ClassificationReport report =
        classification_report({"a", "b"}, std::vector<std::int32_t>{0}, std::vector<float>{0.0f, 1.0f});
    EXPECT_TRUE(std::isfinite(report.loss));
    EXPECT_GT(report.loss, 50);
}

TEST(ClassificationReport, Records) {
    const ClassificationReport report = classification_report({"ja", "nein"}, std::vector<std::int32_t>{0, 1},
                                                              std::vector<float>{0.9f, 0.1f, 0.8f, 0.2f});
    const Record brief = report.record("valid", false), full = report.record("test", true);
    EXPECT_EQ(brief.begin().key(), "kind");
    EXPECT_EQ(brief["kind"], "valid");
    EXPECT_EQ(brief["error"], 0.5);
    EXPECT_FALSE(brief.contains("confusion"));
    EXPECT_EQ(full["classes"]["ja"]["recall"], 1.0);
    EXPECT_EQ(full["classes"]["nein"]["n"], 1);
    EXPECT_EQ(full["confusion"].dump(), "[[1,0],[1,0]]");
    EXPECT_NE(report.table().find("nein"), std::string::npos);
}

}  // namespace
}  // namespace ulmpi
