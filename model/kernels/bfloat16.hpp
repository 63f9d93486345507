#pragma once
// bfloat16: the upper half of a float, 8 bits of exponent and 7 of mantissa.

#include <cstddef>
#include <cstdint>

#include "model/kernels/matrix.hpp"
#include "model/real.hpp"

namespace ulmpi {

/// Storage alone: nothing is computed in it but products.
struct BFloat16 {
    std::uint16_t bits = 0;
};

/// y = x to the nearest, ties to even; infinities stay, a NaN stays one. y may begin where x does (rounded in place: it
/// takes the lower half of the room). In the double build x is rounded to float first.
void round_to_bfloat16(BFloat16* y, const Real* x, std::size_t n);
/// The same by rows.
void round_to_bfloat16(Matrix<BFloat16> y, Matrix<const Real> x);

/// y = x, exactly; y and x do not overlap.
void widen_bfloat16(Real* y, const BFloat16* x, std::size_t n);
/// The same by rows.
void widen_bfloat16(Matrix<Real> y, Matrix<const BFloat16> x);

}  // namespace ulmpi
