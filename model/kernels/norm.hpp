#pragma once
// Normalisation of rows. x, y, dx, dy: (rows, width) dense; weight, bias: (width); mean, rstd: (rows).

#include <cstddef>

#include "model/real.hpp"

namespace ulmpi {

/// Layer normalisation (Ba et al. 2016): mean = sum x / width, rstd = 1 / sqrt(sum (x - mean)^2 / width + eps),
/// y = (x - mean) rstd weight + bias. The statistics are kept for backward; bias may be null (0). y may alias x.
void layer_norm_forward(Real* y, Real* mean, Real* rstd, const Real* x, const Real* weight, const Real* bias,
                        std::size_t rows, std::size_t width, Real eps);
/// y once more from the kept statistics: the same bits as forward gave.
void layer_norm_apply(Real* y, const Real* x, const Real* mean, const Real* rstd, const Real* weight, const Real* bias,
                      std::size_t rows, std::size_t width);
/// With z = (x - mean) rstd and g = dy weight:
///   dx (+)= rstd (g - sum g / width - z sum(g z) / width),  dweight += sum_rows dy z,  dbias += sum_rows dy.
/// dweight and dbias may be null, each for itself. dx may alias dy when !add_to_dx.
void layer_norm_backward(Real* dx, Real* dweight, Real* dbias, const Real* dy, const Real* x, const Real* mean,
                         const Real* rstd, const Real* weight, std::size_t rows, std::size_t width, bool add_to_dx);

/// Root-mean-square normalisation (Zhang & Sennrich 2019): rstd = 1 / sqrt(sum x^2 / width + eps), y = x rstd weight.
void rms_norm_forward(Real* y, Real* rstd, const Real* x, const Real* weight, std::size_t rows, std::size_t width,
                      Real eps);
void rms_norm_apply(Real* y, const Real* x, const Real* rstd, const Real* weight, std::size_t rows, std::size_t width);
/// With z = x rstd and g = dy weight: dx (+)= rstd (g - z sum(g z) / width), dweight += sum_rows dy z (may be null).
/// dx may alias dy when !add_to_dx.
void rms_norm_backward(Real* dx, Real* dweight, const Real* dy, const Real* x, const Real* rstd, const Real* weight,
                       std::size_t rows, std::size_t width, bool add_to_dx);

}  // namespace ulmpi
