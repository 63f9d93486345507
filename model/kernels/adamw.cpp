#include "model/kernels/adamw.hpp"

#include <algorithm>
#include <cmath>

#include "model/kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/adamw.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "model/kernels/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace ulmpi::HWY_NAMESPACE {

void adamw_update(Real* p, Real* g, Real* m, Real* v, std::size_t n, const AdamwStep& step) {
    const Tag d;
    const auto set = [=](double x) HWY_ATTR { return hn::Set(d, static_cast<Real>(x)); };
    const Vector gradient_scale = set(step.gradient_scale), decay = set(1 - step.lr * step.weight_decay);
    const Vector beta1 = set(step.beta1), rest1 = set(1 - step.beta1);
    const Vector beta2 = set(step.beta2), rest2 = set(1 - step.beta2);
    const Vector step_size = set(step.lr / step.correction1), root2 = set(std::sqrt(step.correction2));
    const Vector eps = set(step.eps);
    const std::size_t lanes = hn::Lanes(d);
    for (std::size_t i = 0; i < n; i += lanes) {
        const std::size_t count = HWY_MIN(lanes, n - i);
        const bool whole = count == lanes;
        const auto load = [=](const Real* x)
                              HWY_ATTR { return whole ? hn::LoadU(d, x + i) : load_part(d, x + i, count); };
        const auto store = [=](Vector value, Real* x) HWY_ATTR {
            if (whole)
                hn::StoreU(value, d, x + i);
            else
                store_part(value, d, x + i, count);
        };
        const Vector gi = hn::Mul(load(g), gradient_scale);
        const Vector mi = hn::MulAdd(rest1, gi, hn::Mul(beta1, load(m)));
        const Vector vi = hn::MulAdd(hn::Mul(rest2, gi), gi, hn::Mul(beta2, load(v)));
        const Vector denominator = hn::Add(hn::Div(hn::Sqrt(vi), root2), eps);
        store(hn::Sub(hn::Mul(load(p), decay), hn::Div(hn::Mul(step_size, mi), denominator)), p);
        store(mi, m);
        store(vi, v);
        store(hn::Zero(d), g);
    }
}

}  // namespace ulmpi::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulmpi {

HWY_EXPORT(adamw_update);

// With rounding: in blocks that stay in the cache between the two.
void adamw_update(Real* p, Real* g, Real* m, Real* v, std::size_t n, const AdamwStep& step, BFloat16* rounded) {
    if (rounded == nullptr) return HWY_DYNAMIC_DISPATCH(adamw_update)(p, g, m, v, n, step);
    constexpr std::size_t block = 2048;
    for (std::size_t i = 0; i < n; i += block) {
        const std::size_t count = std::min(block, n - i);
        HWY_DYNAMIC_DISPATCH(adamw_update)(p + i, g + i, m + i, v + i, count, step);
        round_to_bfloat16(rounded + i, p + i, count);
    }
}

}  // namespace ulmpi
#endif
