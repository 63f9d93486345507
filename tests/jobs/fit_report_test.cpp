// How a fit is reported. Oracle: by hand.

#include "jobs/fit_report.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace ulmpi {
namespace {

/// Four texts: right, wrong and sure, wrong and less sure, right; the second stands in training too.
FitResult result() {
    FitResult r{.all_rows = 50, .has_test = true, .seconds = 90, .given = 120, .run = "runs/mine"};
    r.plan.classifier.rows = 40;
    r.words_rows = 40;
    r.judged.rows.classes = {"bad", "good"};
    r.judged.rows.labels = {0, 0, 1, 1};
    r.judged.rows.texts = {"dull", "not\tbad", "fine " + std::string(300, 'x'), "great"};
    r.judged.probabilities = {0.9f, 0.1f, 0.05f, 0.95f, 0.6f, 0.4f, 0.2f, 0.8f};
    r.judged.baselines = {{"majority", "always \"bad\"", {0, 0, 0, 0}}, {"linear", "words", {0, 0, 1, 0}}};
    r.judged.known = {false, true, false, false};
    r.judged.network = {1, 1, 0, 1};
    r.plan.classifier.folds = 5;
    r.plan.classifier.folds_held = 2;
    r.plan.classifier.members = 3;
    r.stack = {0.5, 0.75};
    r.held_out = {{4, 24}, {6, 24}, {3, 24}};
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
    EXPECT_EQ(record["network"]["error"], 0.75);
    // Bins of 0.9, 0.95, 0.6 (9 / 15) and 0.8, of which the second and third are wrong.
    EXPECT_NEAR(record["calibration_error"].get<double>(), (0.1 + 0.95 + 0.6 + 0.2) / 4, 1e-6);
    EXPECT_EQ(record["members"], 3);
    EXPECT_EQ(record["stack"]["network"], 0.5);
    EXPECT_EQ(record["stack"]["words"], 0.75);
    EXPECT_EQ(record["held_out"]["classifier"]["error"], 0.125);
    EXPECT_EQ(record["held_out"]["words"]["error"], 0.25);
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
    EXPECT_EQ(page.find("a sample"), std::string::npos);
    FitResult sample = result();
    sample.all_test_rows = 9;
    for (const std::string line : {"Error on 4 of 9 test texts", "all of them: ulmpi evaluate --model runs/mine"})
        EXPECT_NE(report_page(sample).find(line), std::string::npos) << line << "\nin\n" << report_page(sample);
    EXPECT_EQ(report_record(sample)["test_rows"], 9);
    FitResult nothing = result();
    nothing.has_test = false;
    nothing.judged = {};
    EXPECT_NE(report_page(nothing).find("No error can be told"), std::string::npos);
    EXPECT_EQ(report_record(nothing)["judged"], "nothing");
}

TEST(FitReport, SaysHowItWasMade) {
    FitResult r = result();
    const auto has = [&](const std::string& line) {
        const std::string page = report_page(r);
        EXPECT_NE(page.find(line), std::string::npos) << line << "\nin\n" << page;
    };
    has("(the mean of 3 networks, trained on all rows; its logarithms count 0.50 times");
    has("the words 0.75 times, learnt on 24 rows that were held out)");
    has("differ by 46.3 % on average");  // (0.1 + 0.95 + 0.6 + 0.2) / 4 = 0.4625
    EXPECT_EQ(report_page(r).find("the network adds nothing"), std::string::npos);
    r.held_out.both.wrong = 6;
    has("on the 24 training texts held out words alone err on 25.0 %, this classifier on 25.0 %: the network adds");
    EXPECT_EQ(report_page(r).find("--text besides"), std::string::npos);
    r.pseudo_labels = 900;
    has("the words have learnt from 900 texts of --text besides");
    EXPECT_EQ(report_record(r)["pseudo_labels"], 900);
    r.plan.classifier.members = 1;
    has("(one network, trained on all rows; its");
    r.plan.classifier.members = 0;
    has("(one network, trained on 4 of 5 parts of the rows; its");
    r.held_out = {};
    has("what it says is taken as it is)");
}

TEST(FitReport, SaysThatItIsCrossValidated) {
    FitResult r = result();
    r.has_test = false;
    r.judged.known = {};
    EXPECT_NE(report_page(r).find("Error by cross-validation: 4 texts of 2 of 5 folds"), std::string::npos)
        << report_page(r);
    EXPECT_EQ(report_record(r)["judged"], "cross-validation");
}

}  // namespace
}  // namespace ulmpi
