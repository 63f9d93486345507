#pragma once
// From the hidden states of a document's tokens to one row: the last, their maximum, their mean, all three of them
// (concat pooling: Howard & Ruder 2018, section 3.3), or the first.
//
// A document comes in one sequence or in several, its chunks, in their order. A row takes up one chunk after the other:
// it is copied from the first or last state, keeps the larger, adds to the sum, so that nothing is held of a chunk that
// has gone by.

#include <string>

#include "model/context.hpp"

namespace ulmpi {

enum class Pooling { concat, last, max, mean, first };
Pooling pooling_from(const std::string& name);  ///< UsageError naming --pooling and its values
std::string to_string(Pooling);
constexpr std::size_t pooled_width(Pooling pooling, std::size_t width) {
    return pooling == Pooling::concat ? 3 * width : width;
}

/// What was pooled of some documents, a row each.
struct DocumentPools {
    View<Real> pooled;          ///< (documents, pooled width)
    View<std::int32_t> argmax;  ///< (documents, d): the token of the document that has the maximum

    static DocumentPools allocate(std::size_t documents, Pooling pooling, std::size_t width, Arena& arena) {
        return {arena.allocate({documents, pooled_width(pooling, width)}),
                arena.allocate<std::int32_t>({documents, width})};
    }
    DocumentPools rows(Range range) const { return {pooled.rows(range), argmax.rows(range)}; }
};

/// Takes up the chunks of the micro-batch, whose document i is row i. h: (rows, d), complete. Each worker its columns:
/// a barrier before and one after.
void pool(const DocumentPools& pools, View<const Real> h, Pooling pooling, const Context& context);

/// dh from the gradient of the documents' rows; padding and what another chunk has pooled get zero. Each worker its
/// sequences.
void pool_backward(View<Real> dh, View<const Real> dpooled, View<const std::int32_t> argmax, Pooling pooling,
                   const Context& context);

}  // namespace ulmpi
