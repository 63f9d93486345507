#pragma once
// Sums and scalings of whole buffers.

#include <cstddef>

#include "model/kernels/matrix.hpp"
#include "model/real.hpp"

namespace ulmpi {

/// y += x
void add(Real* y, const Real* x, std::size_t n);
/// y += 1 bias^T      y: (rows, width)   bias: (width)
void add_bias(Real* y, const Real* bias, std::size_t rows, std::size_t width);
/// sums += x^T 1      x: (rows, columns)   sums: (columns): a bias gradient, or a slice of its columns.
void add_column_sums(Real* sums, Matrix<const Real> x);
/// y *= x, element by element
void multiply(Real* y, const Real* x, std::size_t n);
/// y *= factor
void scale(Real* y, Real factor, std::size_t n);
/// y = x, past the caches: y is not to be read soon, so its old bytes need not be fetched, nor others be displaced.
void copy_past_cache(Real* y, const Real* x, std::size_t n);
/// sum x^2 in double. The order of the additions depends on n and the CPU's vector width, never on the address.
double sum_of_squares(const Real* x, std::size_t n);

}  // namespace ulmpi
