#include "model/kernels/bfloat16.hpp"

#include <bit>
#include <cassert>

#include "model/kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/bfloat16.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace ulmpi::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using BitsTag = hn::Rebind<std::uint16_t, FloatTag>;

// bits + 0x7fff + (last bit kept), cut: to the nearest, ties to even. Adding could turn a NaN into an infinity or a
// zero, so a NaN gets its first mantissa bit set instead.
HWY_INLINE hn::Vec<BitsTag> rounded(FloatTag d, hn::Vec<FloatTag> x) {
    const hn::RebindToUnsigned<FloatTag> du;
    const hn::RebindToSigned<FloatTag> di;
    const auto bits = hn::BitCast(du, x);
    const auto last = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
    const auto nearest = hn::Add(bits, hn::Add(last, hn::Set(du, 0x7fffu)));
    const auto quiet = hn::Or(bits, hn::Set(du, 0x00400000u));
    const auto kept = hn::BitCast(du, hn::IfThenElse(hn::IsNaN(x), hn::BitCast(d, quiet), hn::BitCast(d, nearest)));
    return hn::DemoteTo(BitsTag(), hn::BitCast(di, hn::ShiftRight<16>(kept)));
}

HWY_INLINE hn::Vec<FloatTag> load_float(FloatTag d, const float* x) { return hn::LoadU(d, x); }
HWY_INLINE hn::Vec<FloatTag> load_float(FloatTag d, const double* x) {
    HWY_ALIGN float lanes[hn::MaxLanes(FloatTag())];
    for (std::size_t i = 0; i < hn::Lanes(d); ++i) lanes[i] = static_cast<float>(x[i]);
    return hn::Load(d, lanes);
}

void round_to_bfloat16(BFloat16* y, const Real* x, std::size_t n) {
    const FloatTag d;
    const BitsTag d16;
    const std::size_t lanes = hn::Lanes(d);
    auto* bits = reinterpret_cast<std::uint16_t*>(y);
    std::size_t i = 0;
    for (; i + lanes <= n; i += lanes) hn::StoreU(rounded(d, load_float(d, x + i)), d16, bits + i);
    if (i == n) return;
    HWY_ALIGN float rest[hn::MaxLanes(FloatTag())] = {};
    HWY_ALIGN std::uint16_t lanes16[hn::MaxLanes(FloatTag())];
    for (std::size_t j = i; j < n; ++j) rest[j - i] = static_cast<float>(x[j]);
    hn::StoreU(rounded(d, hn::Load(d, rest)), d16, lanes16);
    for (std::size_t j = i; j < n; ++j) bits[j] = lanes16[j - i];
}

HWY_INLINE void store_float(FloatTag d, hn::Vec<FloatTag> x, float* y) { hn::StoreU(x, d, y); }
HWY_INLINE void store_float(FloatTag d, hn::Vec<FloatTag> x, double* y) {
    HWY_ALIGN float lanes[hn::MaxLanes(FloatTag())];
    hn::Store(x, d, lanes);
    for (std::size_t i = 0; i < hn::Lanes(d); ++i) y[i] = lanes[i];
}

void widen_bfloat16(Real* y, const BFloat16* x, std::size_t n) {
    const FloatTag d;
    const BitsTag d16;
    const hn::RebindToUnsigned<FloatTag> du;
    const std::size_t lanes = hn::Lanes(d);
    const auto* bits = reinterpret_cast<const std::uint16_t*>(x);
    std::size_t i = 0;
    for (; i + lanes <= n; i += lanes) {
        const auto wide = hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(d16, bits + i)));
        store_float(d, hn::BitCast(d, wide), y + i);
    }
    for (; i < n; ++i) y[i] = std::bit_cast<float>(std::uint32_t{bits[i]} << 16);
}

}  // namespace ulmpi::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulmpi {

HWY_EXPORT(round_to_bfloat16);
HWY_EXPORT(widen_bfloat16);

void round_to_bfloat16(BFloat16* y, const Real* x, std::size_t n) { HWY_DYNAMIC_DISPATCH(round_to_bfloat16)(y, x, n); }

void round_to_bfloat16(Matrix<BFloat16> y, Matrix<const Real> x) {
    assert(y.rows == x.rows && y.columns == x.columns);
    for (std::size_t row = 0; row < x.rows; ++row) round_to_bfloat16(y.row(row), x.row(row), x.columns);
}

void widen_bfloat16(Real* y, const BFloat16* x, std::size_t n) { HWY_DYNAMIC_DISPATCH(widen_bfloat16)(y, x, n); }

void widen_bfloat16(Matrix<Real> y, Matrix<const BFloat16> x) {
    assert(y.rows == x.rows && y.columns == x.columns);
    for (std::size_t row = 0; row < x.rows; ++row) widen_bfloat16(y.row(row), x.row(row), x.columns);
}

}  // namespace ulmpi
#endif
