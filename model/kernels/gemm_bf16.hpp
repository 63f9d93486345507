#pragma once
// Matrix products of bfloat16 with sums in float, by oneDNN. Every call runs on the calling thread alone, and any
// number of threads may call at once.

#include <string>

#include "model/kernels/bfloat16.hpp"

namespace ulmpi {

/// Why bf16 products cannot be had: the program was built without oneDNN, or the CPU has no instructions for them.
/// Empty where they can.
std::string no_bf16_reason();

/// y = a b^T, a b or a^T b (+ y), as matmul_nt, matmul_nn and matmul_tn of gemm.hpp. Throws Error where
/// no_bf16_reason() is not empty. An odd stride of a or b is slow.
void matmul_nt(Matrix<float> y, Matrix<const BFloat16> a, Matrix<const BFloat16> b, bool add);
void matmul_nn(Matrix<float> y, Matrix<const BFloat16> a, Matrix<const BFloat16> b, bool add);
void matmul_tn(Matrix<float> y, Matrix<const BFloat16> a, Matrix<const BFloat16> b, bool add);

}  // namespace ulmpi
