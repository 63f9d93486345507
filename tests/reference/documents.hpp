#pragma once
// Random labelled documents of given lengths for the tests of those that are longer than the context.

#include <numeric>
#include <vector>

#include "finetune/document_batches.hpp"
#include "parallel/random_key.hpp"
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
                                          std::size_t first_chunk = 0, std::span<const float> offsets = {}) {
    return document_batches(set, all_records(set), {0, first_chunk}, {context, micro_batch, 0, offsets});
}

/// What another model says of every document.
inline std::vector<float> random_offsets(std::size_t documents, std::size_t classes, std::uint64_t seed) {
    std::vector<float> offsets;
    for (std::size_t i = 0; i < documents * classes; ++i) offsets.push_back(random_offset(seed, i));
    return offsets;
}

}  // namespace ulmpi::reference
