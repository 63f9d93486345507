#include "parallel/team.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace ulmpi {
namespace {

constexpr int most_threads = 4;

TEST(TeamTest, EveryWorkerRunsOnce) {
    for (int threads = 1; threads <= most_threads; ++threads) {
        std::vector<int> runs(static_cast<std::size_t>(threads), 0);
        run_team(threads, [&](const Team& team) {
            ++runs[static_cast<std::size_t>(team.rank())];
            EXPECT_EQ(team.size(), threads);
            EXPECT_EQ(team.leader(), team.rank() == 0);
        });
        EXPECT_EQ(runs, std::vector<int>(static_cast<std::size_t>(threads), 1));
    }
}

TEST(TeamTest, SharesCoverTheWhole) {
    for (int threads = 1; threads <= most_threads; ++threads)
        for (std::size_t whole : {0UL, 1UL, 2UL, 7UL, 100UL}) {
            std::vector<int> owners(whole, 0);
            run_team(threads, [&](const Team& team) {
                const Range mine = team.share(whole);
                for (std::size_t i = mine.first; i < mine.last; ++i) ++owners[i];
            });
            EXPECT_EQ(owners, std::vector<int>(whole, 1));
        }
}

TEST(TeamTest, SingleWaitsForAllAndIsWaitedFor) {
    for (int threads = 1; threads <= most_threads; ++threads) {
        std::atomic<int> arrived = 0;
        int seen = 0, runs = 0;
        run_team(threads, [&](const Team& team) {
            for (int round = 1; round <= 50; ++round) {
                ++arrived;
                team.single([&] {
                    EXPECT_TRUE(team.leader());
                    seen = arrived.load();
                    ++runs;
                });
                EXPECT_EQ(seen, round * threads);
                EXPECT_EQ(runs, round);
                team.barrier();
            }
        });
    }
}

TEST(TeamTest, SumIsTheSameBitsEverywhere) {
    for (int threads = 1; threads <= most_threads; ++threads) {
        double expected = 0;
        for (int w = 0; w < threads; ++w) expected += 0.1 * (w + 1);
        run_team(threads, [&](const Team& team) {
            for (int round = 0; round < 50; ++round) EXPECT_EQ(team.sum(0.1 * (team.rank() + 1)), expected);
        });
    }
}

}  // namespace
}  // namespace ulmpi
