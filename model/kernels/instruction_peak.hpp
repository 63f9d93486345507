#pragma once
// What the CPU's widest multiply-add instructions could do: the limit of any matrix product.

#include "model/kernels/factor.hpp"

namespace ulmpi {

/// GFLOP/s of `threads` OpenMP threads that do nothing but multiply and add in registers, for about `seconds`: fused
/// multiply-adds of floats, or, for bf16, VDPBF16PS (AVX512-BF16: 32 products of bf16 added to 16 floats). 0 where the
/// CPU, or this program on it, has no such instruction.
double measure_instruction_peak(Precision precision, int threads, double seconds);

}  // namespace ulmpi
