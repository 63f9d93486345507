// Formatting for people: expected texts by hand.

#include "base/progress.hpp"

#include <gtest/gtest.h>

namespace ulmpi {
namespace {

TEST(Format, Durations) {
    EXPECT_EQ(format_duration(0), "0.0 s");
    EXPECT_EQ(format_duration(0.44), "0.4 s");
    EXPECT_EQ(format_duration(9.94), "9.9 s");
    EXPECT_EQ(format_duration(9.96), "10 s");
    EXPECT_EQ(format_duration(59.4), "59 s");
    EXPECT_EQ(format_duration(59.6), "1 min 00 s");
    EXPECT_EQ(format_duration(185), "3 min 05 s");
    EXPECT_EQ(format_duration(3599.7), "1 h 00 min");
    EXPECT_EQ(format_duration(3720), "1 h 02 min");
    EXPECT_EQ(format_duration(86399), "1 d 00 h");
    EXPECT_EQ(format_duration(3 * 86400 + 4 * 3600), "3 d 04 h");
    EXPECT_EQ(format_duration(-1), "0.0 s");
}

TEST(Format, Counts) {
    EXPECT_EQ(format_count(0), "0");
    EXPECT_EQ(format_count(7), "7");
    EXPECT_EQ(format_count(950), "950");
    EXPECT_EQ(format_count(1000), "1.0 k");
    EXPECT_EQ(format_count(3249), "3.2 k");
    EXPECT_EQ(format_count(12345), "12 k");
    EXPECT_EQ(format_count(999'499), "999 k");
    EXPECT_EQ(format_count(999'600), "1.0 M");
    EXPECT_EQ(format_count(2.5e9), "2.5 G");
    EXPECT_EQ(format_count(4e15), "4000 T");
    EXPECT_EQ(format_rate(3240.7, "tokens"), "3.2 k tokens/s");
    EXPECT_EQ(format_rate(0.25, "steps"), "0.2 steps/s");
    EXPECT_EQ(format_rate(512.6, "rows"), "513 rows/s");
}

TEST(Format, Bytes) {
    EXPECT_EQ(format_bytes(0), "0 B");
    EXPECT_EQ(format_bytes(999), "999 B");
    EXPECT_EQ(format_bytes(3400), "3.4 kB");
    EXPECT_EQ(format_bytes(1'200'000'000), "1.2 GB");
}

TEST(Progress, LineSaysWhereRateAndTimeLeft) {
    const WorkState half{"stage 1", "tokens", 0, 3200, 6400, 1.0, "loss 4.31"};
    EXPECT_EQ(progress_line(half, 10), "stage 1 [#####.....]  50 %  3.2 k tokens/s  loss 4.31  1.0 s left");
    EXPECT_EQ(progress_line(half, 0), "stage 1  50 %  3.2 k tokens/s  loss 4.31  1.0 s left");
    const WorkState whole{"stage 1", "tokens", 0, 6400, 6400, 65, ""};
    EXPECT_EQ(progress_line(whole, 4), "stage 1 [####] 100 %  98 tokens/s  1 min 05 s");
    const WorkState unknown{"shards", "lines", 0, 12000, 0, 4, ""};
    EXPECT_EQ(progress_line(unknown, 10), "shards  12 k lines  3.0 k lines/s  4.0 s");
    const WorkState resumed{"run", "steps", 90, 95, 100, 5, ""};
    EXPECT_EQ(progress_line(resumed, 0), "run  95 %  1 steps/s  5.0 s left");
    const WorkState unmoved{"run", "steps", 0, 0, 100, 5, ""};
    EXPECT_EQ(progress_line(unmoved, 0), "run   0 %");
    const WorkState beyond{"run", "steps", 0, 120, 100, 5, ""};
    EXPECT_EQ(progress_line(beyond, 4), "run [####] 100 %  24 steps/s  5.0 s");
}

TEST(Progress, ShortWorkAndOtherRanksAreSilent) {
    std::FILE* const out = std::tmpfile();
    ASSERT_NE(out, nullptr);
    {
        ProgressLine quick("quick", "steps", 100, /*speaks=*/true, 0, 0, out);
        for (std::uint64_t i = 0; i <= 100; ++i) quick.update(i);
        ProgressLine silent("other rank", "steps", 100, /*speaks=*/false, 0, 0, out);
        silent.update(100);
    }
    EXPECT_EQ(std::ftell(out), 0);
    std::fclose(out);
}

}  // namespace
}  // namespace ulmpi
