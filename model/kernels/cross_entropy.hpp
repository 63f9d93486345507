#pragma once
// Softmax cross-entropy over a slice of the vocabulary, in steps between which ranks combine what they hold:
//   m_i = max over slices of row_maximum;  Z_i, t_i = sums over slices of exp_and_sum;  loss_i = log Z_i - t_i;
//   cross_entropy_gradient.
// logits: (rows, columns), rows `stride` apart: the columns [first, first + columns) of the whole vocabulary.
// targets: (rows), ids of the whole vocabulary; negative: the row is ignored.

#include <cstddef>
#include <cstdint>

#include "model/real.hpp"

namespace ulmpi {

/// maximum[i] = max_j logits[i][j]; the lowest Real when columns = 0.
void row_maximum(Real* maximum, const Real* logits, std::size_t rows, std::size_t columns, std::size_t stride);
/// logits <- exp(logits - maximum), sum[i] = their sum over this slice, target_logit[i] = logits[i][target] -
/// maximum[i] when the target lies in this slice, else 0.
void exp_and_sum(Real* logits, Real* sum, Real* target_logit, const Real* maximum, const std::int32_t* targets,
                 std::size_t first, std::size_t rows, std::size_t columns, std::size_t stride);
/// logits hold exp(l - maximum), sum their row sums over the whole vocabulary, scale the derivative of the total loss
/// by the loss of each row: logits <- scale (logits / sum - onehot(target)). Rows whose scale is 0 or whose target is
/// negative become 0.
void cross_entropy_gradient(Real* logits, const Real* sum, const Real* scale, const std::int32_t* targets,
                            std::size_t first, std::size_t rows, std::size_t columns, std::size_t stride);

}  // namespace ulmpi
