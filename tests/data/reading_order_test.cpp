// Oracle: properties. A permutation hits everything once; a batch list holds every sample once.

#include "data/reading_order.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace ulmpi {
namespace {

TEST(StreamOrderTest, EachReadsOnAndAllReadEverything) {
    for (std::uint64_t streams : {1u, 3u, 8u})
        for (std::uint64_t windows : {1u, 8u, 24u, 101u}) {
            std::vector<int> seen(windows);
            const std::uint64_t steps = (windows + streams - 1) / streams;
            for (std::uint64_t stream = 0; stream < streams; ++stream)
                for (std::uint64_t step = 0; step < steps; ++step) {
                    const std::uint64_t window = stream_window_at(stream, step, streams, windows);
                    ++seen.at(window);
                    EXPECT_EQ(stream_window_at(stream, step + 1, streams, windows), (window + 1) % windows);
                    EXPECT_EQ(stream_window_at(stream, step + 7 * windows, streams, windows), window);
                }
            for (std::uint64_t window = 0; window < windows; ++window) EXPECT_GE(seen[window], 1) << window;
            if (windows % streams == 0) {
                EXPECT_EQ(*std::ranges::max_element(seen), 1);
            }
        }
}

TEST(ReadingOrder, EveryEpochIsAPermutation) {
    for (std::uint64_t windows = 1; windows <= 4097; windows = windows < 70 ? windows + 1 : windows * 9 / 8)
        for (std::uint64_t epoch = 0; epoch < 4; ++epoch) {
            std::vector<int> seen(windows, 0);
            for (std::uint64_t i = 0; i < windows; ++i) ++seen.at(window_at(11, epoch * windows + i, windows));
            EXPECT_EQ(std::ranges::count(seen, 1), static_cast<std::ptrdiff_t>(windows)) << windows;
        }
    std::vector<int> seen(4097, 0);
    for (std::uint64_t i = 0; i < 4097; ++i) ++seen.at(window_at(11, i, 4097));
    EXPECT_EQ(std::ranges::count(seen, 1), 4097);
}

TEST(ReadingOrder, DependsOnSeedAndEpochAndIsUniform) {
    constexpr std::uint64_t windows = 1000;
    std::size_t same_seed = 0, same_epoch = 0, fixed = 0;
    for (std::uint64_t i = 0; i < windows; ++i) {
        same_seed += window_at(1, i, windows) == window_at(2, i, windows);
        same_epoch += window_at(1, i, windows) == window_at(1, windows + i, windows);
        fixed += window_at(1, i, windows) == i;
    }
    EXPECT_LT(same_seed, 10U);
    EXPECT_LT(same_epoch, 10U);
    EXPECT_LT(fixed, 10U);
    // Where window 0 stands over many epochs: ten bins, each within five standard deviations of its mean.
    std::vector<double> bins(10);
    constexpr int epochs = 5000;
    for (std::uint64_t epoch = 0; epoch < epochs; ++epoch) bins.at(window_at(1, epoch * windows, windows) / 100) += 1;
    for (double n : bins) EXPECT_NEAR(n, epochs / 10.0, 5 * std::sqrt(epochs * 0.09));
}

TEST(ReadingOrder, HugeSizesStayInside) {
    for (std::uint64_t windows : {std::uint64_t{1} << 40, (std::uint64_t{1} << 41) + 1, std::uint64_t{3}})
        for (std::uint64_t i = 0; i < 100; ++i) EXPECT_LT(window_at(5, i * 977, windows), windows);
}

std::vector<std::uint32_t> some_lengths(std::size_t count) {
    std::vector<std::uint32_t> lengths(count);
    for (std::size_t i = 0; i < count; ++i) lengths[i] = static_cast<std::uint32_t>(mix_bits(i) % 500 + 1);
    return lengths;
}

TEST(LengthBuckets, HoldEverySampleOnce) {
    for (std::size_t count : std::vector<std::size_t>{0, 1, 7, 8, 9, 1000, 4099})
        for (std::size_t batch_size : std::vector<std::size_t>{1, 8, 33}) {
            std::vector<int> seen(count, 0);
            std::size_t smaller = 0;
            const std::vector<std::uint32_t> lengths = some_lengths(count);
            for (const auto& batch : length_bucketed_batches(3, 1, lengths, batch_size, 5)) {
                EXPECT_FALSE(batch.empty());
                smaller += batch.size() < batch_size;
                for (std::uint32_t sample : batch) ++seen.at(sample);
            }
            EXPECT_EQ(std::ranges::count(seen, 1), static_cast<std::ptrdiff_t>(count));
            EXPECT_EQ(smaller, count % batch_size == 0 ? 0U : 1U);
        }
}

TEST(LengthBuckets, PadLittleAndStayShuffled) {
    const std::vector<std::uint32_t> lengths = some_lengths(10'000);
    const auto batches = length_bucketed_batches(3, 0, lengths, 20);
    EXPECT_EQ(batches, length_bucketed_batches(3, 0, lengths, 20));
    EXPECT_NE(batches, length_bucketed_batches(3, 1, lengths, 20));
    EXPECT_NE(batches, length_bucketed_batches(4, 0, lengths, 20));
    double padded = 0, real = 0, rising = 0, before = 0;
    for (const auto& batch : batches) {
        std::uint32_t longest = 0;
        for (std::uint32_t sample : batch) {
            longest = std::max(longest, lengths[sample]);
            real += lengths[sample];
        }
        padded += static_cast<double>(longest) * static_cast<double>(batch.size());
        rising += longest > before;
        before = longest;
    }
    EXPECT_LT(padded / real, 1.05);       // batches of shuffled samples would have about 1.9
    EXPECT_NEAR(rising / 500, 0.5, 0.1);  // batches do not come sorted
}

}  // namespace
}  // namespace ulmpi
