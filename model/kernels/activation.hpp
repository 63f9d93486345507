#pragma once
// Activation functions, element by element over n values. y may alias x, dx may alias dy.

#include <cstddef>

#include "model/real.hpp"

namespace ulmpi {

/// y = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): GELU in the tanh form of Hendrycks & Gimpel 2016.
void gelu_forward(Real* y, const Real* x, std::size_t n);
/// dx = dy gelu'(x)
void gelu_backward(Real* dx, const Real* dy, const Real* x, std::size_t n);

/// y = max(x, 0)
void relu_forward(Real* y, const Real* x, std::size_t n);
/// dx = dy where x > 0, else 0
void relu_backward(Real* dx, const Real* dy, const Real* x, std::size_t n);

/// y = silu(gate) up,  silu(g) = g / (1 + exp(-g)): SwiGLU (Shazeer 2020). y may alias gate or up.
void swiglu_forward(Real* y, const Real* gate, const Real* up, std::size_t n);
/// dgate = dy up silu'(gate), dup = dy silu(gate). dup or dgate may alias dy.
void swiglu_backward(Real* dgate, Real* dup, const Real* dy, const Real* gate, const Real* up, std::size_t n);

}  // namespace ulmpi
