#include "training/saving.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace ulmpi {
namespace {

TEST(Progress, SurvivesItsJson) {
    const Progress fresh, old{7, 70, 1.5, std::nullopt, std::nullopt},
        full{9, 90, 2.25, 0xfedcba9876543210U, BestStep{6, 3.14159274}};
    for (const Progress& progress : {fresh, old, full}) EXPECT_EQ(progress_from(to_json(progress)), progress);
    nlohmann::json more = to_json(full);
    more["seed"] = 3;
    EXPECT_EQ(progress_from(more), full);
    EXPECT_FALSE(to_json(old).contains("best"));
}

TEST(BestStep, IsTheFirstOfTheLowest) {
    EXPECT_TRUE(is_better(5, std::nullopt));
    EXPECT_FALSE(is_better(NAN, std::nullopt));
    EXPECT_FALSE(is_better(INFINITY, std::nullopt));
    EXPECT_TRUE(is_better(1.9, BestStep{1, 2}));
    EXPECT_FALSE(is_better(2, BestStep{1, 2}));
    EXPECT_FALSE(is_better(NAN, BestStep{1, 2}));
}

TEST(SaveSummary, SaysHowSavesWent) {
    EXPECT_EQ(save_summary({}, SaveMode::async, 1000), "");
    SaveTally tally{1, 0, 2'000'000'000, 4, 0, 0};
    EXPECT_EQ(save_summary(tally, SaveMode::sync, 0), "saved 1 checkpoint of 2.0 GB: 4 s, 500 MB/s");
    EXPECT_EQ(save_summary(tally, SaveMode::async, 5000),
              "saved 1 checkpoint of 2.0 GB: 4 s, 500 MB/s; their copies take 5.0 kB on a rank");
    tally = {4, 1, 8'000'000'000, 16, 4, 0.5};
    EXPECT_EQ(save_summary(tally, SaveMode::sync, 0), "saved 4 checkpoints of 2.0 GB: 4 s each, 500 MB/s; 1 failed");
    EXPECT_EQ(save_summary(tally, SaveMode::async, 2'000'000'000),
              "saved 4 checkpoints of 2.0 GB: 4 s each, 500 MB/s; 1 failed; in the background: steps waited "
              "0.125 s for each; their copies take 2.0 GB on a rank");
    tally = {0, 2, 0, 0, 2, 0};
    EXPECT_EQ(save_summary(tally, SaveMode::sync, 0), "saved 0 checkpoints; 2 failed");
}

// A run on paper: whatever steps and saves take, at whatever interval, the last save ends before the job does.
TEST(Pace, LeavesTimeForTheLastSave) {
    for (const bool async : {false, true})
        for (const double step : {0.1, 1.0, 30.0})
            for (const double save : {0.1, 5.0, 100.0})
                for (const int interval : {1, 2, 7})
                    for (double end = 1; end < 2000; end *= 1.07) {
                        const Pace pace{step, save};
                        double now = 0, under_way_until = -1;
                        for (int done = 0;; ++done) {
                            const bool under_way = now<under_way_until, due = done> 0 && done % interval == 0;
                            if (end - now < pace.needed(int(under_way) + int(due))) {
                                const double last = std::max(now, under_way_until) + (done > 0 ? save : 0);
                                EXPECT_LE(done > 0 ? last : 0, end)
                                    << async << " step " << step << " save " << save << " interval " << interval;
                                break;
                            }
                            if (due) now = std::max(now, under_way_until) + (async ? 0 : save);
                            if (due && async) under_way_until = now + save;
                            now += step;
                        }
                    }
}

}  // namespace
}  // namespace ulmpi
