#pragma once
// What a stage makes room for, and how much that is.

#include <cstddef>

#include "base/slice.hpp"
#include "model/config.hpp"
#include "model/kernels/factor.hpp"

namespace ulmpi {

/// Where a rank stands in one replica of the model.
struct StagePlace {
    int stage = 0, stages = 1, slice = 0, slices = 1;
    bool first() const { return stage == 0; }
    bool last() const { return stage + 1 == stages; }
    Range blocks(const ModelConfig& c) const {
        return even_slice(c.layers, static_cast<std::size_t>(stages), static_cast<std::size_t>(stage));
    }
};

/// The largest micro-batch, how many are in flight at most, by how many workers it is carried, and how many documents
/// of a pass have chunks in several micro-batches.
struct BatchPlan {
    std::size_t sequences = 1, length = 1;
    int slots = 1, threads = 1;
    bool training = true;
    Precision precision = Precision::fp32;
    std::size_t documents = 0;
    std::size_t source_length = 0;  ///< of an encoder-decoder's
    bool weights_later = false;     ///< backward of the weights is a pass of its own, whose factors are kept until then
};

/// Bytes of the arenas of one rank: kept of one slot, shared temporaries, temporaries of one worker, and what was
/// pooled of documents in several micro-batches.
struct ActivationBytes {
    std::size_t kept = 0, shared = 0, own = 0, pools = 0;
    std::size_t total(const BatchPlan& plan) const {
        return kept * static_cast<std::size_t>(plan.slots) + shared + own * static_cast<std::size_t>(plan.threads) +
               pools;
    }
};

}  // namespace ulmpi
