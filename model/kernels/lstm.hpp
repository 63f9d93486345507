#pragma once
// The cell of a long short-term memory (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000), one
// row of n units:  c = sig(f) c' + sig(i) tanh(g),  h = sig(o) tanh(c),  c' being the cell before.

#include <cstddef>

#include "model/real.hpp"

namespace ulmpi {

/// Of one row, n units each.
struct LstmGates {
    Real *i, *f, *g, *o;
};

/// The gates' sums become sig(i), sig(f), tanh(g), sig(o) in place. Writes c and h; c may alias before.
void lstm_forward(const LstmGates& gates, Real* c, Real* h, const Real* before, std::size_t n);
/// The gates as forward left them become the gradients of their sums, and dc, the gradient that came to c from the step
/// after, that of `before`.
void lstm_backward(const LstmGates& gates, Real* dc, const Real* dh, const Real* c, const Real* before, std::size_t n);

}  // namespace ulmpi
