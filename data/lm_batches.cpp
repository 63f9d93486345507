#include "data/lm_batches.hpp"

#include <algorithm>
#include <numeric>

#include "base/slice.hpp"

namespace ulmpi {

LmBatches::LmBatches(const TokenDataset& dataset, std::uint64_t seed, std::size_t length, std::size_t global_batch,
                     std::size_t micro_batch, ReadingOrder order)
    : dataset_(dataset),
      seed_(seed),
      length_(length),
      global_batch_(global_batch),
      micro_batch_(micro_batch),
      order_(order),
      windows_(dataset.windows(length)) {}

std::vector<MicroBatch> LmBatches::of_step(std::uint64_t step, int replica, int replicas) const {
    const Range rows = even_slice(global_batch_, static_cast<std::size_t>(replicas), static_cast<std::size_t>(replica));
    std::vector<MicroBatch> batches;
    std::vector<Token> window(length_ + 1);
    for (std::size_t first = rows.first; first < rows.last; first += micro_batch_) {
        MicroBatch& batch = batches.emplace_back();
        batch.sequences = std::min(micro_batch_, rows.last - first);
        batch.length = length_;
        batch.first_sequence = batch.first_row = static_cast<std::uint32_t>(first);
        for (std::size_t row = first; row < first + batch.sequences; ++row) {
            batch.samples.push_back(training_window(order_, seed_, step, row, global_batch_, windows_));
            dataset_.read_window(batch.samples.back(), window);
            batch.inputs.insert(batch.inputs.end(), window.begin(), window.end() - 1);
            batch.targets.insert(batch.targets.end(), window.begin() + 1, window.end());
        }
    }
    return batches;
}

// The first window scores `length` tokens, every further one `stride`.
ScoringWindows::ScoringWindows(const TokenDataset& dataset, std::size_t length, std::size_t stride)
    : dataset_(dataset), length_(length), stride_(stride) {
    const std::uint64_t tokens = dataset.token_count();
    count_ = tokens <= length ? 1 : 1 + (tokens - length + stride - 1) / stride;
}

MicroBatch ScoringWindows::batch(std::uint64_t first, std::uint64_t last) const {
    std::vector<std::uint64_t> windows(static_cast<std::size_t>(last - first));
    std::iota(windows.begin(), windows.end(), first);
    return batch(windows, first);
}

MicroBatch ScoringWindows::batch(std::span<const std::uint64_t> windows, std::uint64_t first_sequence) const {
    MicroBatch batch;
    batch.sequences = windows.size();
    batch.length = length_;
    batch.first_sequence = static_cast<std::uint32_t>(first_sequence);
    batch.inputs.assign(batch.rows(), dataset_.end_of_text());
    batch.targets.assign(batch.rows(), -1);
    std::vector<Token> tokens;
    for (std::size_t s = 0; s < batch.sequences; ++s) {
        const std::uint64_t window = windows[s], begin = window * stride_;  // the first target
        const std::uint64_t end = std::min<std::uint64_t>(begin + length_, dataset_.token_count());
        const bool whole = window == 0;
        // Targets begin … end-1, inputs begin-1 … end-2.
        tokens.resize(static_cast<std::size_t>(end - begin) + (whole ? 0 : 1));
        dataset_.read(whole ? 0 : begin - 1, tokens);
        Token* inputs = batch.inputs.data() + s * length_;
        Token* targets = batch.targets.data() + s * length_;
        const auto n = static_cast<std::size_t>(end - begin);
        const Token* target_tokens = tokens.data() + (whole ? 0 : 1);
        if (whole)
            std::copy_n(tokens.data(), n - 1, inputs + 1);
        else
            std::copy_n(tokens.data(), n, inputs);
        const std::size_t skipped = whole ? 0 : length_ - stride_;
        if (n > skipped) std::copy(target_tokens + skipped, target_tokens + n, targets + skipped);
    }
    return batch;
}

}  // namespace ulmpi
