// Oracles: what was written; the step that a file is cut at.

#include "training/metrics.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <sstream>

#include "base/error.hpp"
#include "tests/base/temporary_folder.hpp"
#include "training/training_options.hpp"

namespace ulmpi {
namespace {

Record at_step(std::uint64_t step) {
    Record record;
    record["kind"] = "train";
    record["step"] = step;
    record["loss"] = number(4.0 / static_cast<double>(step));
    return record;
}

std::string content(const std::filesystem::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
}

TEST(MetricsTest, LinesPastTheResumedStepAreCut) {
    const TemporaryFolder folder;
    const std::filesystem::path path = folder / "metrics.jsonl";
    {
        MetricsFile file(path, 0);
        for (std::uint64_t step = 1; step <= 9; ++step) file.write(at_step(step));
    }
    std::string expected;
    for (std::uint64_t step = 1; step <= 5; ++step) expected += at_step(step).dump() + "\n";
    { MetricsFile file(path, 5); }
    EXPECT_EQ(content(path), expected);
    std::ofstream(path, std::ios::app) << "{\"kind\":\"train\",\"st";  // killed in the middle of a line
    {
        MetricsFile file(path, 5);
        file.write(at_step(6));
    }
    EXPECT_EQ(content(path), expected + at_step(6).dump() + "\n");
}

TEST(MetricsTest, NumbersTellTwoFloatsApart) {
    for (float value : {1.0f, 3.14159274f, 6.9925712f, 1e-30f, 123456792.0f}) {
        const float next = std::nextafter(value, 1e30f);
        EXPECT_NE(number(value).dump(), number(next).dump());
        EXPECT_EQ(static_cast<float>(std::stod(number(value).dump())), value);
    }
}

TEST(MetricsTest, EvaluationsOfAStep) {
    const TemporaryFolder folder;
    const auto path = folder / "metrics.jsonl";
    EXPECT_FALSE(holds_evaluation(path, 5));
    EXPECT_EQ(validation_loss(path, 5), std::nullopt);
    std::ofstream(path) << R"({"kind":"train","step":5,"loss":1.5}
{"kind":"valid","step":5,"loss":2.5}
{"kind":"valid","step":6,"loss":null}
{"kind":"test","step":7,"loss":3.5}
{"kind":"valid","step":8,"lo)";  // killed in the middle of a line
    for (std::uint64_t step = 4; step <= 8; ++step) EXPECT_EQ(holds_evaluation(path, step), 5 <= step && step <= 7);
    EXPECT_EQ(validation_loss(path, 5), 2.5);
    for (std::uint64_t step : {4U, 6U, 7U, 8U}) EXPECT_EQ(validation_loss(path, step), std::nullopt);
}

TEST(TrainingOptionsTest, LengthOfARun) {
    TrainingOptions o;
    o.global_batch = 16;
    EXPECT_THROW(steps_of(o, 1000, 128), UsageError);  // none
    o.steps = 7;
    EXPECT_EQ(steps_of(o, 1000, 128), 7u);
    o.tokens = 1;
    EXPECT_THROW(steps_of(o, 1000, 128), UsageError);  // two
    o.steps.reset();
    EXPECT_EQ(steps_of(o, 1000, 128), 1u);
    o.tokens = 16 * 128 * 3 + 1;
    EXPECT_EQ(steps_of(o, 1000, 128), 4u);
    o.tokens.reset();
    o.epochs = 2;
    EXPECT_EQ(steps_of(o, 1000, 128), 125u);
}

TEST(TrainingOptionsTest, SaveIntervals) {
    EXPECT_EQ(save_interval_from("500").steps, 500u);
    EXPECT_EQ(save_interval_from("30m").seconds, 1800);
    EXPECT_EQ(save_interval_from("90s").seconds, 90);
    EXPECT_EQ(save_interval_from("1.5h").seconds, 5400);
    EXPECT_EQ(save_interval_from("0").steps, 0u);
    for (const char* wrong : {"", "m", "-5", "1e99", "2.5", "nan", "5m5"})
        EXPECT_THROW(save_interval_from(wrong), UsageError) << wrong;
}

}  // namespace
}  // namespace ulmpi
