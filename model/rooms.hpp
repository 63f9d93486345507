#pragma once
// Where activations live while a micro-batch goes through the layers. A layer takes its room by one function each for
// what it keeps and for what it works in; forward, backward and the memory plan call the same, the plan on arenas that
// have no memory and only add up.

#include <cstddef>
#include <utility>

#include "base/slice.hpp"
#include "model/arena.hpp"
#include "model/flow.hpp"
#include "model/kernels/bfloat16.hpp"
#include "model/kernels/factor.hpp"
#include "model/real.hpp"
#include "model/tensor.hpp"

namespace ulmpi {

/// What forward keeps of a tensor: its values, or, where products take rounded factors, the rounded values alone in
/// half the room. Of either, one is there.
struct Kept {
    View<Real> full;
    View<BFloat16> rounded;
    std::size_t columns() const { return full.empty() ? rounded.columns() : full.columns(); }
};

/// Where a factor of a product lies in its rounded form, or, where it is to outlast what it is made of, as it is.
/// Neither is there where what it is made of will do.
struct FactorRoom {
    View<Real> copy;
    View<BFloat16> rounded;
};

/// One worker's view: of its own arena, and of those that all workers of the rank share, whose addresses they agree on
/// because each takes the same room in the same order.
struct Rooms {
    std::size_t sequences = 0, length = 0;  ///< of the micro-batch
    std::size_t workers = 1;
    Range rows = {};                        ///< of the micro-batch's rows, this worker's
    std::size_t source_length = 0;          ///< an encoder-decoder's: length of the sources,
    Range source_rows = {};                 ///< and which of their rows are this worker's
    Precision precision = Precision::fp32;  ///< of the products of linear layers
    bool weights_later = false;             ///< products that give gradients of weights come in a pass of their own
    Arena kept = {};                        ///< shared, lives until the last pass of this micro-batch is done
    Arena shared = {};                      ///< shared temporaries: handed back only behind a barrier
    Arena own = {};                         ///< this worker's temporaries

    std::size_t all_rows() const { return sequences * length; }
    std::size_t rows_of(Side side) const { return sequences * (side == Side::inputs ? length : source_length); }
    /// Exchanges inputs and sources: `length` and `rows` are then the sources', until it is called again.
    void turn() {
        std::swap(length, source_length);
        std::swap(rows, source_rows);
    }

    /// Room for a tensor that forward keeps.
    Kept keep(Shape shape) {
        if (precision == Precision::fp32) return {kept.allocate(shape), {}};
        return {{}, kept.allocate<BFloat16>(shape)};
    }
    /// Where this worker's rows of it are computed: in their place (nowhere, in a plan), or in its own arena.
    View<Real> open(const Kept& what) {
        if (precision != Precision::fp32) return own.allocate({rows.size(), what.columns()});
        return what.full.empty() ? View<Real>{} : what.full.rows(rows);
    }
    /// Three kinds of room for factors of products that give gradients of weights, shared by all workers: among the
    /// temporaries, or, where those products come later, where they stay until then. For values that are computed
    /// there:
    View<Real> until_weights(Shape shape) {
        return (weights_later && precision == Precision::fp32 ? kept : shared).allocate(shape);
    }
    /// for the rounded form of values that stay themselves, or lie where until_weights said;
    View<BFloat16> weights_rounding(Shape shape) { return rounding(weights_later ? kept : shared, shape); }
    /// and for a factor whose values will not stay.
    FactorRoom weights_factor(Shape shape) {
        return {weights_later && precision == Precision::fp32 ? kept.allocate(shape) : View<Real>{},
                weights_rounding(shape)};
    }
    /// For the rounded form of a factor of that shape; empty where factors are not rounded.
    View<BFloat16> rounding(Arena& arena, Shape shape) const {
        return precision == Precision::fp32 ? View<BFloat16>{} : arena.allocate<BFloat16>(shape);
    }
};

}  // namespace ulmpi
