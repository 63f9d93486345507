// Oracle: properties, for every length and context that is small.

#include "data/chunks.hpp"

#include <gtest/gtest.h>

namespace ulmpi {
namespace {

TEST(Chunks, EveryTokenIsPooledOnceInOrderWithHalfAContextBeforeIt) {
    for (std::size_t context = 1; context <= 17; ++context)
        for (std::size_t length = 1; length <= 150; ++length) {
            const std::vector<ChunkBounds> chunks = chunks_of(length, context);
            ASSERT_EQ(chunks.size(), chunk_count(length, context)) << length << " of " << context;
            std::size_t next = 0;  // the token that is pooled next
            for (const ChunkBounds& chunk : chunks) {
                ASSERT_LE(chunk.length, context);
                ASSERT_LE(chunk.first + chunk.length, length);
                ASSERT_LT(chunk.first_pooled, chunk.length) << "a chunk that pools nothing";
                for (std::size_t p = chunk.first_pooled; p < chunk.length; ++p, ++next) {
                    ASSERT_EQ(chunk.first + p, next);
                    // p tokens stand before it in the chunk.
                    if (context > 1) {
                        ASSERT_GE(2 * p, std::min(2 * next, context)) << length << " of " << context;
                    }
                }
            }
            ASSERT_EQ(next, length);
        }
}

TEST(Chunks, AreNoMoreThanNeededAndPadNothing) {
    EXPECT_EQ(chunks_of(8, 8), (std::vector<ChunkBounds>{{0, 8, 0}}));
    EXPECT_EQ(chunks_of(3, 8), (std::vector<ChunkBounds>{{0, 3, 0}}));
    EXPECT_EQ(chunks_of(12, 8), (std::vector<ChunkBounds>{{0, 8, 0}, {4, 8, 4}}));
    EXPECT_EQ(chunks_of(14, 8), (std::vector<ChunkBounds>{{0, 8, 0}, {3, 8, 5}, {6, 8, 5}}));
    for (std::size_t context = 2; context <= 17; ++context)
        for (std::size_t length = context + 1; length <= 150; ++length) {
            const std::size_t most = context - (context + 1) / 2;  // that one chunk more can pool
            ASSERT_GT(length, context + (chunk_count(length, context) - 2) * most);
            for (const ChunkBounds& chunk : chunks_of(length, context)) ASSERT_EQ(chunk.length, context);
        }
}

TEST(Chunks, OfAHundredThousandTokens) {
    EXPECT_EQ(chunk_count(100'000, 256), 1 + (100'000 - 256 + 127) / 128);
    EXPECT_EQ(chunks_of(100'000, 256).back().first, 100'000 - 256);
}

}  // namespace
}  // namespace ulmpi
