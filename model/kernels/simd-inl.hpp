// Loops over arrays in vectors of Real, tails included. Included once for each instruction set.

#if defined(ULMPI_SIMD_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef ULMPI_SIMD_INL
#undef ULMPI_SIMD_INL
#else
#define ULMPI_SIMD_INL
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <cstddef>
#include <limits>
#include <type_traits>

#include "model/real.hpp"

HWY_BEFORE_NAMESPACE();
namespace ulmpi::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::ScalableTag<Real>;
using Vector = hn::Vec<Tag>;

/// The first count <= Lanes values at p, zeros behind them. Reads nothing past them.
HWY_INLINE Vector load_part(Tag d, const Real* p, std::size_t count) {
#if HWY_MEM_OPS_MIGHT_FAULT
    HWY_ALIGN Real lanes[hn::MaxLanes(Tag())] = {};
    for (std::size_t i = 0; i < count; ++i) lanes[i] = p[i];
    return hn::Load(d, lanes);
#else
    return hn::MaskedLoad(hn::FirstN(d, count), d, p);
#endif
}

/// Writes the first count <= Lanes values to p and nothing past them.
HWY_INLINE void store_part(Vector v, Tag d, Real* p, std::size_t count) {
#if HWY_MEM_OPS_MIGHT_FAULT
    HWY_ALIGN Real lanes[hn::MaxLanes(Tag())];
    hn::Store(v, d, lanes);
    for (std::size_t i = 0; i < count; ++i) p[i] = lanes[i];
#else
    hn::BlendedStore(v, hn::FirstN(d, count), d, p);
#endif
}

/// y[i] = f(x[i]...). y may alias any x.
template <typename F, typename... X>
HWY_INLINE void transform(Real* y, std::size_t n, F f, const X*... x) {
    const Tag d;
    const std::size_t lanes = hn::Lanes(d);
    std::size_t i = 0;
    for (; i + lanes <= n; i += lanes) hn::StoreU(f(hn::LoadU(d, x + i)...), d, y + i);
    if (i < n) store_part(f(load_part(d, x + i, n - i)...), d, y + i, n - i);
}

/// sum_i f(x[i]...), in four vectors of partial sums.
template <typename F, typename... X>
HWY_INLINE Real sum_of(std::size_t n, F f, const X*... x) {
    const Tag d;
    const std::size_t lanes = hn::Lanes(d);
    Vector s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    std::size_t i = 0;
    for (; i + 4 * lanes <= n; i += 4 * lanes) {
        s0 = hn::Add(s0, f(hn::LoadU(d, x + i)...));
        s1 = hn::Add(s1, f(hn::LoadU(d, x + i + lanes)...));
        s2 = hn::Add(s2, f(hn::LoadU(d, x + i + 2 * lanes)...));
        s3 = hn::Add(s3, f(hn::LoadU(d, x + i + 3 * lanes)...));
    }
    for (; i + lanes <= n; i += lanes) s0 = hn::Add(s0, f(hn::LoadU(d, x + i)...));
    if (i < n) s1 = hn::Add(s1, hn::IfThenElseZero(hn::FirstN(d, n - i), f(load_part(d, x + i, n - i)...)));
    return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
}

/// max_i f(x[i]...), the lowest Real when n = 0. A NaN may or may not be seen.
template <typename F, typename... X>
HWY_INLINE Real maximum_of(std::size_t n, F f, const X*... x) {
    const Tag d;
    const std::size_t lanes = hn::Lanes(d);
    const Vector lowest = hn::Set(d, hwy::LowestValue<Real>());
    Vector m0 = lowest, m1 = lowest;
    std::size_t i = 0;
    for (; i + 2 * lanes <= n; i += 2 * lanes) {
        m0 = hn::Max(m0, f(hn::LoadU(d, x + i)...));
        m1 = hn::Max(m1, f(hn::LoadU(d, x + i + lanes)...));
    }
    for (; i + lanes <= n; i += lanes) m0 = hn::Max(m0, f(hn::LoadU(d, x + i)...));
    if (i < n) m1 = hn::Max(m1, hn::IfThenElse(hn::FirstN(d, n - i), f(load_part(d, x + i, n - i)...), lowest));
    return hn::GetLane(hn::MaxOfLanes(d, hn::Max(m0, m1)));
}

/// exp(x): infinite from a little below the largest exponent on, NaN for NaN.
HWY_INLINE Vector exponential(Tag d, Vector x) {
    const Vector most = hn::Set(d, static_cast<Real>(std::is_same_v<Real, float> ? 88 : 705));
    const Vector infinity = hn::Set(d, std::numeric_limits<Real>::infinity());
    return hn::IfThenElse(hn::Le(x, most), hn::Exp(d, x), hn::Add(x, infinity));
}

/// 1 / (1 + exp(-x))
HWY_INLINE Vector sigmoid(Tag d, Vector x) {
    const Vector one = hn::Set(d, Real{1});
    return hn::Div(one, hn::Add(one, exponential(d, hn::Neg(x))));
}

/// x <- exp(x - shift); returns their sum.
HWY_INLINE Real exponentials_and_sum(Real* x, Real shift, std::size_t n) {
    const Tag d;
    const std::size_t lanes = hn::Lanes(d);
    const Vector m = hn::Set(d, shift);
    Vector s0 = hn::Zero(d), s1 = s0;
    std::size_t i = 0;
    for (; i + 2 * lanes <= n; i += 2 * lanes) {
        const Vector e0 = exponential(d, hn::Sub(hn::LoadU(d, x + i), m));
        const Vector e1 = exponential(d, hn::Sub(hn::LoadU(d, x + i + lanes), m));
        hn::StoreU(e0, d, x + i);
        hn::StoreU(e1, d, x + i + lanes);
        s0 = hn::Add(s0, e0);
        s1 = hn::Add(s1, e1);
    }
    for (; i < n; i += lanes) {
        const std::size_t count = HWY_MIN(lanes, n - i);
        const Vector e = exponential(d, hn::Sub(load_part(d, x + i, count), m));
        store_part(e, d, x + i, count);
        s0 = hn::Add(s0, hn::IfThenElseZero(hn::FirstN(d, count), e));
    }
    return hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
}

}  // namespace ulmpi::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
