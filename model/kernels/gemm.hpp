#pragma once
// Matrix products over BLAS. Every call runs on the calling thread alone, and any number of threads may call at once.

#include <string>

#include "model/kernels/matrix.hpp"
#include "model/real.hpp"

namespace ulmpi {

/// y = alpha a b^T + beta y      a: (m, k)   b: (n, k)   y: (m, n)
/// beta = 0 overwrites y whatever it held. A size may be 0 (k = 0 leaves beta y). y overlaps neither a nor b.
void matmul_nt(Matrix<Real> y, Matrix<const Real> a, Matrix<const Real> b, Real alpha = 1, Real beta = 0);
/// y = alpha a b + beta y        a: (m, k)   b: (k, n)   y: (m, n)
void matmul_nn(Matrix<Real> y, Matrix<const Real> a, Matrix<const Real> b, Real alpha = 1, Real beta = 0);
/// y = alpha a^T b + beta y      a: (k, m)   b: (k, n)   y: (m, n)
void matmul_tn(Matrix<Real> y, Matrix<const Real> a, Matrix<const Real> b, Real alpha = 1, Real beta = 0);

/// The CPU whose kernels the library runs, by its name for it: "SkylakeX".
std::string blas_kernels();

/// GFLOP/s of 2048^3 products over `threads` OpenMP threads, each with a slice of the rows: the median of the calls
/// that fit into `seconds` (at least three).
double measure_gemm_peak(int threads, double seconds);

}  // namespace ulmpi
