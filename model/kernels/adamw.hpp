#pragma once
// Adam with decoupled weight decay (Loshchilov & Hutter 2019), in PyTorch's order of operations.

#include <cstddef>

#include "model/kernels/bfloat16.hpp"
#include "model/real.hpp"

namespace ulmpi {

/// The scalars of one update. correction1 = 1 - beta1^t, correction2 = 1 - beta2^t at step t = 1, 2, ...
struct AdamwStep {
    double lr = 0, beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weight_decay = 0;
    double correction1 = 1, correction2 = 1;
    double gradient_scale = 1;  ///< clipping by the global norm: the gradient is multiplied by it first
};

/// One pass over n parameters p, gradients g and moments m, v:
///   g *= gradient_scale;  p *= 1 - lr weight_decay;  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
///   p -= lr / correction1 * m / (sqrt(v) / sqrt(correction2) + eps);  g = 0.
/// `rounded`, if not null, gets p rounded to bf16.
void adamw_update(Real* p, Real* g, Real* m, Real* v, std::size_t n, const AdamwStep& step,
                  BFloat16* rounded = nullptr);

}  // namespace ulmpi
