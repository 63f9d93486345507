// How a fit is reported. Oracle: by hand.

#include "finetune/fit_report.hpp"

#include <gtest/gtest.h>

namespace ulmpi {
namespace {

/// Four texts: right, wrong and sure, wrong and less sure, right; the second stands in training too.
FitResult result() {
    FitResult r{.all_rows = 50, .has_test = true, .seconds = 90, .given = 120, .run = "runs/mine"};
    r.plan.classifier.rows = 40;
    r.judged.rows.classes = {"bad", "good"};
    r.judged.rows.labels = {0, 0, 1, 1};
    r.judged.rows.texts = {"dull", "not\tbad", "fine " + std::string(300, 'x'), "great"};
    r.judged.probabilities = {0.9f, 0.1f, 0.05f, 0.95f, 0.6f, 0.4f, 0.2f, 0.8f};
    r.judged.baselines = {{"majority", "always \"bad\"", {0, 0, 0, 0}}, {"linear", "words", {0, 0, 1, 0}}};
    r.judged.known = {false, true, false, false};
    return r;
}

TEST(FitReport, TheSurestMistakesFirst) {
    EXPECT_EQ(surest_mistakes(result().judged, 10), (std::vector<std::uint32_t>{1, 2}));
    EXPECT_EQ(surest_mistakes(result().judged, 1), (std::vector<std::uint32_t>{1}));
}

TEST(FitReport, Record) {
    const Record record = report_record(result());
    EXPECT_EQ(record["kind"], "fit");
    EXPECT_EQ(record["judged"], "test");
    EXPECT_EQ(record["classifier"]["error"], 0.5);
    EXPECT_EQ(record["classifier"]["standard_error"], 0.25);  // sqrt(0.5 × 0.5 / 4)
    EXPECT_EQ(record["classifier"]["n"], 4);
    EXPECT_EQ(record["baselines"]["linear"]["error"], 0.25);
    EXPECT_EQ(record["known"], 1);
    EXPECT_NEAR(record["without_known"]["classifier"]["error"].get<double>(), 1.0 / 3, 1e-8);
    EXPECT_NEAR(record["without_known"]["baselines"]["majority"]["error"].get<double>(), 2.0 / 3, 1e-8);
}

TEST(FitReport, Page) {
    const std::string page = report_page(result());
    for (const std::string line : {"Error on 4 test texts, 40 of 50 labels", "always \"bad\"", "50.0 +- 25.0",
                                   "Without the 1 test texts", "good, 95 %  (truth: bad)\n      not bad\n",
                                   "1 min 30 s of 2 min 00 s taken", "ulmpi predict --model runs/mine"})
        EXPECT_NE(page.find(line), std::string::npos) << line << "\nin\n" << page;
    EXPECT_EQ(page.find(std::string(250, 'x')), std::string::npos);  // shortened
    FitResult nothing = result();
    nothing.has_test = false;
    nothing.judged = {};
    EXPECT_NE(report_page(nothing).find("No error can be told"), std::string::npos);
    EXPECT_EQ(report_record(nothing)["judged"], "nothing");
}

TEST(FitReport, SaysThatItIsCrossValidated) {
    FitResult r = result();
    r.has_test = false;
    r.judged.known = {};
    r.plan.classifier.folds = 5;
    r.plan.classifier.folds_held = 2;
    EXPECT_NE(report_page(r).find("Error by cross-validation: 4 texts of 2 folds of 5"), std::string::npos)
        << report_page(r);
    EXPECT_EQ(report_record(r)["judged"], "cross-validation");
}

}  // namespace
}  // namespace ulmpi
