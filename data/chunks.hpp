#pragma once
// How a document longer than a model's context is read: in overlapping chunks. Pure arithmetic.

#include <algorithm>
#include <cstddef>
#include <vector>

#include "base/slice.hpp"

namespace ulmpi {

/// Tokens [first, first + length) of a document. The chunk answers for its positions from `first_pooled` on; those
/// before are what it reads first, so that the others have something before them.
struct ChunkBounds {
    std::size_t first = 0, length = 0, first_pooled = 0;
    friend bool operator==(const ChunkBounds&, const ChunkBounds&) = default;
};

/// Tokens before the first one that a chunk other than the first answers for: half a context, rounded up; with a
/// context of one token there are none.
constexpr std::size_t chunk_overlap(std::size_t context) { return std::min((context + 1) / 2, context - 1); }

/// Number of chunks of a document of `length` tokens, 1 or more. context >= 1.
constexpr std::size_t chunk_count(std::size_t length, std::size_t context) {
    const std::size_t step = context - chunk_overlap(context);
    return length <= context ? 1 : 1 + (length - context + step - 1) / step;
}

/// The first chunk answers for the first `context` tokens. The others, each `context` tokens long, share the rest
/// evenly, so that each token is answered for once, in order, with chunk_overlap(context) tokens or more before it.
inline std::vector<ChunkBounds> chunks_of(std::size_t length, std::size_t context) {
    std::vector<ChunkBounds> chunks{{0, std::min(length, context), 0}};
    const std::size_t others = chunk_count(length, context) - 1;
    for (std::size_t i = 0; i < others; ++i) {
        const Range own = even_slice(length - context, others, i);
        chunks.push_back({own.last, context, context - own.size()});  // the context tokens up to context + own.last
    }
    return chunks;
}

}  // namespace ulmpi
