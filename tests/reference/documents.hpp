#pragma once
// Random labelled documents of given lengths for the tests of those that are longer than the context.

#include <numeric>
#include <vector>

#include "base/random_key.hpp"
#include "data/document_batches.hpp"
#include "tests/reference/tiny_model.hpp"

namespace ulmpi::reference {

/// What a document holds depends on (seed, its number) alone.
inline LabelledSet random_documents(const std::vector<std::size_t>& lengths, std::size_t vocabulary,
                                    std::size_t classes, std::uint64_t seed) {
    LabelledSet set;
    set.classes.resize(classes);
    set.starts.push_back(0);
    for (std::size_t i = 0; i < lengths.size(); ++i) {
        const std::uint64_t key = random_key(seed, i);
        for (std::size_t t = 0; t < lengths[i]; ++t)
            set.tokens.push_back(static_cast<Token>(random_key(key, t) % vocabulary));
        set.starts.push_back(set.tokens.size());
        set.labels.push_back(static_cast<std::int32_t>(key % classes));
    }
    return set;
}

/// All of a set, in order.
inline std::vector<std::uint32_t> all_records(const LabelledSet& set) {
    std::vector<std::uint32_t> records(set.size());
    std::iota(records.begin(), records.end(), 0u);
    return records;
}

inline std::vector<MicroBatch> batches_of(const LabelledSet& set, std::size_t context, std::size_t micro_batch,
                                          std::size_t first_chunk = 0, std::span<const float> offsets = {},
                                          std::span<const float> soft_labels = {}) {
    return document_batches(set, all_records(set), {0, first_chunk}, {context, micro_batch, 0, offsets, soft_labels});
}

/// What another model says of every document.
inline std::vector<float> random_offsets(std::size_t documents, std::size_t classes, std::uint64_t seed) {
    std::vector<float> offsets;
    for (std::size_t i = 0; i < documents * classes; ++i) offsets.push_back(random_offset(seed, i));
    return offsets;
}

/// A target for every document: shares of classes, in multiples of 2^-10, so that their sum is one to the bit.
inline std::vector<float> random_soft_labels(std::size_t documents, std::size_t classes, std::uint64_t seed) {
    std::vector<float> targets;
    for (std::size_t i = 0; i < documents; ++i) {
        std::size_t rest = 1024;
        for (std::size_t c = 0; c < classes; ++c) {
            const std::size_t share = c + 1 < classes ? random_key(seed, i * classes + c) % (rest + 1) : rest;
            targets.push_back(static_cast<float>(share) / 1024);
            rest -= share;
        }
    }
    return targets;
}

}  // namespace ulmpi::reference
