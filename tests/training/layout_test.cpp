#include "training/layout.hpp"

#include <gtest/gtest.h>

namespace ulmpi {
namespace {

TEST(FittedMicroBatch, GivesAThreadAboutFiveHundredTokens) {
    EXPECT_EQ(fitted_micro_batch(8, 256, 2), 4u);
    EXPECT_EQ(fitted_micro_batch(4, 512, 2), 2u);
    EXPECT_EQ(fitted_micro_batch(64, 128, 1), 4u);
}

TEST(FittedMicroBatch, IsNeverMoreThanAskedAndNeverLessThanASequenceAThread) {
    for (std::size_t asked = 1; asked <= 64; ++asked)
        for (std::size_t length : {1u, 100u, 512u, 513u, 8192u})
            for (int threads : {1, 2, 3, 16}) {
                const std::size_t fitted = fitted_micro_batch(asked, length, threads);
                EXPECT_LE(fitted, asked);
                EXPECT_GE(fitted, std::min(asked, static_cast<std::size_t>(threads)));
                // Work is dealt evenly, but where less was asked for than there are threads.
                EXPECT_TRUE(fitted == asked || fitted % static_cast<std::size_t>(threads) == 0);
            }
}

TEST(ResolveLayout, WhatHasNothingToOverlapIsRefused) {
    LayoutOptions options{.pipeline_parallel = 2, .schedule = "zb-h1", .overlap = true};
    EXPECT_THROW(resolve_layout(options, 2, 1), UsageError);
    options.pipeline_parallel = 1;  // one stage has no weights passes
    EXPECT_TRUE(resolve_layout(options, 2, 1).overlap);
}

}  // namespace
}  // namespace ulmpi
