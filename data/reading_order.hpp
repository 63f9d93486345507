#pragma once
// In which order samples are read: pure functions of (seed, place), so that a run resumes from one integer and every
// layout of ranks sees the same global batches.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

#include "base/random_key.hpp"

namespace ulmpi {

/// A permutation of [0, size) that `key` names, at `index` < size; size > 0. Four rounds of a Feistel network permute
/// the next power of four, and a value outside is permuted again until it falls inside (cycle walking: Black and
/// Rogaway 2002), which takes under four tries on average.
constexpr std::uint64_t permuted(std::uint64_t key, std::uint64_t index, std::uint64_t size) {
    const int half = (static_cast<int>(std::bit_width(size - 1)) + 1) / 2;
    const std::uint64_t mask = (std::uint64_t{1} << half) - 1;
    do {
        std::uint64_t left = index >> half, right = index & mask;
        for (std::uint64_t round = 0; round < 4; ++round)
            left = std::exchange(right, left ^ (mix_bits(right ^ key ^ round << 56) & mask));
        index = left << half | right;
    } while (index >= size);
    return index;
}

/// Which of `windows` > 0 training windows is read at `position`, counted from the first sample of the run. Every epoch
/// of `windows` positions reads each window once, in an order of its own.
constexpr std::uint64_t window_at(std::uint64_t seed, std::uint64_t position, std::uint64_t windows) {
    return permuted(random_key(seed, position / windows), position % windows, windows);
}

/// How a run reads its training windows: each anywhere, or so that every sequence of a batch goes on where the same one
/// of the batch before ended.
enum class ReadingOrder { shuffled, streams };

/// Which of `windows` > 0 training windows the stream `stream` of `streams` reads at its step `step`: the streams begin
/// evenly spread over the corpus, and each reads on, at the corpus's end from its beginning. After windows / streams
/// steps each is where the next one began: every window has been read once, or, where streams do not divide them, some
/// twice.
constexpr std::uint64_t stream_window_at(std::uint64_t stream, std::uint64_t step, std::uint64_t streams,
                                         std::uint64_t windows) {
    const std::uint64_t begin = stream * (windows / streams) + stream * (windows % streams) / streams;
    return (begin + step % windows) % windows;
}

/// Which window row `row` of the global batch of step `step` is.
constexpr std::uint64_t training_window(ReadingOrder order, std::uint64_t seed, std::uint64_t step, std::uint64_t row,
                                        std::uint64_t global_batch, std::uint64_t windows) {
    return order == ReadingOrder::streams ? stream_window_at(row, step, global_batch, windows)
                                          : window_at(seed, step * global_batch + row, windows);
}

/// The batches of one epoch over samples of the given lengths: sample indices, every sample once. The shuffled samples
/// are cut into pools of `pool_batches` batches, a pool is sorted by length (equal ones stay shuffled) and cut into
/// batches, so that a batch pads little; then the batches of all pools are shuffled. All have batch_size > 0 samples
/// but one, which has what is left.
inline std::vector<std::vector<std::uint32_t>> length_bucketed_batches(std::uint64_t seed, std::uint64_t epoch,
                                                                       std::span<const std::uint32_t> lengths,
                                                                       std::size_t batch_size,
                                                                       std::size_t pool_batches = 50) {
    const std::uint64_t key = random_key(seed, epoch);
    const std::size_t count = lengths.size();
    std::vector<std::uint32_t> order(count);
    for (std::size_t i = 0; i < count; ++i) order[i] = static_cast<std::uint32_t>(permuted(key, i, count));

    std::vector<std::vector<std::uint32_t>> sorted;
    const std::size_t pool_size = batch_size * pool_batches;
    for (std::size_t pool = 0; pool < count; pool += pool_size) {
        const auto of_pool = std::span(order).subspan(pool, std::min(pool_size, count - pool));
        std::ranges::stable_sort(of_pool, {}, [&](std::uint32_t sample) { return lengths[sample]; });
        for (std::size_t i = 0; i < of_pool.size(); i += batch_size) {
            const auto batch = of_pool.subspan(i, std::min(batch_size, of_pool.size() - i));
            sorted.emplace_back(batch.begin(), batch.end());
        }
    }
    std::vector<std::vector<std::uint32_t>> batches(sorted.size());
    for (std::size_t i = 0; i < sorted.size(); ++i)
        batches[i] = std::move(sorted[permuted(mix_bits(key), i, sorted.size())]);
    return batches;
}

}  // namespace ulmpi
