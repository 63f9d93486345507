#include "model/kernels/rotary.hpp"

#include <cassert>
#include <cmath>

#include "model/kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/rotary.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "model/kernels/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace ulmpi::HWY_NAMESPACE {

/// Turns every pair by `sign` times its angle.
void rotate(Real* x, const RotaryTable& table, std::size_t first_position, std::size_t rows, std::size_t heads,
            std::size_t stride, Real sign) {
    assert(first_position + rows <= table.positions());
    const Tag d;
    const std::size_t lanes = hn::Lanes(d), half = table.head_size() / 2;
    const Vector direction = hn::Set(d, sign);
    for (std::size_t r = 0; r < rows; ++r) {
        const Real *cosines = table.cosines(first_position + r), *sines = table.sines(first_position + r);
        for (std::size_t h = 0; h < heads; ++h) {
            Real *a = x + r * stride + 2 * half * h, *b = a + half;
            std::size_t i = 0;
            for (; i + lanes <= half; i += lanes) {
                const Vector c = hn::LoadU(d, cosines + i), s = hn::Mul(direction, hn::LoadU(d, sines + i));
                const Vector ai = hn::LoadU(d, a + i), bi = hn::LoadU(d, b + i);
                hn::StoreU(hn::NegMulAdd(bi, s, hn::Mul(ai, c)), d, a + i);
                hn::StoreU(hn::MulAdd(ai, s, hn::Mul(bi, c)), d, b + i);
            }
            for (; i < half; ++i) {
                const Real c = cosines[i], s = sign * sines[i], ai = a[i], bi = b[i];
                a[i] = ai * c - bi * s;
                b[i] = bi * c + ai * s;
            }
        }
    }
}

}  // namespace ulmpi::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulmpi {

HWY_EXPORT(rotate);

RotaryTable::RotaryTable(std::size_t positions, std::size_t head_size, double base)
    : positions_(positions), half_(head_size / 2), values_(positions * head_size) {
    assert(head_size % 2 == 0);
    for (std::size_t i = 0; i < half_; ++i) {
        const double frequency = std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(head_size));
        for (std::size_t position = 0; position < positions; ++position) {
            const double angle = static_cast<double>(position) * frequency;
            values_[2 * half_ * position + i] = static_cast<Real>(std::cos(angle));
            values_[2 * half_ * position + half_ + i] = static_cast<Real>(std::sin(angle));
        }
    }
}

void rotary_forward(Real* x, const RotaryTable& table, std::size_t first_position, std::size_t rows, std::size_t heads,
                    std::size_t stride) {
    HWY_DYNAMIC_DISPATCH(rotate)(x, table, first_position, rows, heads, stride, 1);
}

void rotary_backward(Real* dx, const RotaryTable& table, std::size_t first_position, std::size_t rows,
                     std::size_t heads, std::size_t stride) {
    HWY_DYNAMIC_DISPATCH(rotate)(dx, table, first_position, rows, heads, stride, -1);
}

}  // namespace ulmpi
#endif
