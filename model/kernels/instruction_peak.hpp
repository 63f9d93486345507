#pragma once
// What the CPU's vector instructions for multiplying and adding could do: the limit of a matrix product made of them.

#include "model/kernels/factor.hpp"

namespace ulmpi {

/// GFLOP/s of `threads` OpenMP threads that do nothing but multiply and add in registers, for about `seconds`: fused
/// multiply-adds of floats, or, for bf16, VDPBF16PS (AVX512-BF16: 32 products of bf16 added to 16 floats). 0 where the
/// CPU, or this program on it, has no such instruction, or has AMX, whose tiles are faster.
double measure_instruction_peak(Precision precision, int threads, double seconds);

}  // namespace ulmpi
