#pragma once
// The batches of a language model: which windows of the corpus a step reads, as micro-batches of one replica.

#include <cstdint>
#include <span>
#include <vector>

#include "base/micro_batch.hpp"
#include "data/reading_order.hpp"
#include "data/token_dataset.hpp"
#include "parallel/topology.hpp"

namespace ulmpi {

/// Row r of the global batch of step s is the window that training_window names; rows are dealt to replicas and
/// micro-batches in order, so every layout trains on the same global batches.
class LmBatches {
public:
    /// `dataset` must outlive this.
    LmBatches(const TokenDataset& dataset, std::uint64_t seed, std::size_t length, std::size_t global_batch,
              std::size_t micro_batch, ReadingOrder order = ReadingOrder::shuffled);
    /// Update `step`, counted from 0, of replica `replica` of `replicas`.
    std::vector<MicroBatch> of_step(std::uint64_t step, int replica, int replicas) const;
    std::uint64_t windows() const { return windows_; }

private:
    const TokenDataset& dataset_;
    std::uint64_t seed_;
    std::size_t length_, global_batch_, micro_batch_;
    ReadingOrder order_;
    std::uint64_t windows_;
};

/// Windows that score every token of a set once: window w reads `length` tokens from w * stride - 1 on (before the
/// first stands an end-of-text) and scores the last `stride` of its targets, the first window all of them. A stride
/// below the length gives every token at least length - stride tokens of context.
class ScoringWindows {
public:
    ScoringWindows(const TokenDataset& dataset, std::size_t length, std::size_t stride);
    std::uint64_t count() const { return count_; }
    /// Windows [first, last) as one micro-batch; targets not scored are negative.
    MicroBatch batch(std::uint64_t first, std::uint64_t last) const;
    /// These windows as sequences first_sequence, first_sequence + 1, …
    MicroBatch batch(std::span<const std::uint64_t> windows, std::uint64_t first_sequence) const;

private:
    const TokenDataset& dataset_;
    std::size_t length_, stride_;
    std::uint64_t count_;
};

}  // namespace ulmpi
