#include "model/kernels/activation.hpp"

#include "model/kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/activation.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "model/kernels/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace ulmpi::HWY_NAMESPACE {

// 1/2 (1 + tanh u) = 1 / (1 + exp(-2u)), so gelu(x) = x sigmoid(2u) with 2u = a x + a b x^3.
constexpr Real gelu_a = static_cast<Real>(1.59576912160573071176);  // 2 sqrt(2 / pi)
constexpr Real gelu_b = static_cast<Real>(0.044715);

void gelu_forward(Real* y, const Real* x, std::size_t n) {
    const Tag d;
    const Vector a = hn::Set(d, gelu_a), ab = hn::Set(d, gelu_a * gelu_b);
    transform(
        y, n,
        [=](Vector xi) HWY_ATTR {
            const Vector u = hn::Mul(xi, hn::MulAdd(ab, hn::Mul(xi, xi), a));
            return hn::Mul(xi, sigmoid(d, u));
        },
        x);
}

// With s = sigmoid(2u): gelu' = s + x s (1 - s) (a + 3 a b x^2).
void gelu_backward(Real* dx, const Real* dy, const Real* x, std::size_t n) {
    const Tag d;
    const Vector a = hn::Set(d, gelu_a), ab = hn::Set(d, gelu_a * gelu_b), ab3 = hn::Set(d, 3 * gelu_a * gelu_b);
    transform(
        dx, n,
        [=](Vector g, Vector xi) HWY_ATTR {
            const Vector square = hn::Mul(xi, xi);
            const Vector s = sigmoid(d, hn::Mul(xi, hn::MulAdd(ab, square, a)));
            const Vector t = hn::Mul(hn::Mul(xi, hn::NegMulAdd(s, s, s)), hn::MulAdd(ab3, square, a));
            return hn::Mul(g, hn::Add(s, t));
        },
        dy, x);
}

void relu_forward(Real* y, const Real* x, std::size_t n) {
    const Vector zero = hn::Zero(Tag());
    transform(
        y, n, [=](Vector xi) HWY_ATTR { return hn::IfThenZeroElse(hn::Le(xi, zero), xi); }, x);
}

void relu_backward(Real* dx, const Real* dy, const Real* x, std::size_t n) {
    const Vector zero = hn::Zero(Tag());
    transform(
        dx, n, [=](Vector g, Vector xi) HWY_ATTR { return hn::IfThenZeroElse(hn::Le(xi, zero), g); }, dy, x);
}

void swiglu_forward(Real* y, const Real* gate, const Real* up, std::size_t n) {
    const Tag d;
    transform(
        y, n, [=](Vector g, Vector u) HWY_ATTR { return hn::Mul(hn::Mul(g, sigmoid(d, g)), u); }, gate, up);
}

// With s = sigmoid(gate): silu' = s + gate s (1 - s).
void swiglu_backward(Real* dgate, Real* dup, const Real* dy, const Real* gate, const Real* up, std::size_t n) {
    const Tag d;
    const std::size_t lanes = hn::Lanes(d);
    for (std::size_t i = 0; i < n; i += lanes) {
        const std::size_t count = HWY_MIN(lanes, n - i);
        const bool whole = count == lanes;
        const auto load = [=](const Real* p)
                              HWY_ATTR { return whole ? hn::LoadU(d, p + i) : load_part(d, p + i, count); };
        const Vector g = load(gate), u = load(up), dyi = load(dy);
        const Vector s = sigmoid(d, g);
        const Vector slope = hn::MulAdd(g, hn::NegMulAdd(s, s, s), s);
        const Vector to_gate = hn::Mul(hn::Mul(dyi, u), slope), to_up = hn::Mul(dyi, hn::Mul(g, s));
        if (whole) {
            hn::StoreU(to_gate, d, dgate + i);
            hn::StoreU(to_up, d, dup + i);
        } else {
            store_part(to_gate, d, dgate + i, count);
            store_part(to_up, d, dup + i, count);
        }
    }
}

}  // namespace ulmpi::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulmpi {

HWY_EXPORT(gelu_forward);
HWY_EXPORT(gelu_backward);
HWY_EXPORT(relu_forward);
HWY_EXPORT(relu_backward);
HWY_EXPORT(swiglu_forward);
HWY_EXPORT(swiglu_backward);

void gelu_forward(Real* y, const Real* x, std::size_t n) { HWY_DYNAMIC_DISPATCH(gelu_forward)(y, x, n); }
void gelu_backward(Real* dx, const Real* dy, const Real* x, std::size_t n) {
    HWY_DYNAMIC_DISPATCH(gelu_backward)(dx, dy, x, n);
}
void relu_forward(Real* y, const Real* x, std::size_t n) { HWY_DYNAMIC_DISPATCH(relu_forward)(y, x, n); }
void relu_backward(Real* dx, const Real* dy, const Real* x, std::size_t n) {
    HWY_DYNAMIC_DISPATCH(relu_backward)(dx, dy, x, n);
}
void swiglu_forward(Real* y, const Real* gate, const Real* up, std::size_t n) {
    HWY_DYNAMIC_DISPATCH(swiglu_forward)(y, gate, up, n);
}
void swiglu_backward(Real* dgate, Real* dup, const Real* dy, const Real* gate, const Real* up, std::size_t n) {
    HWY_DYNAMIC_DISPATCH(swiglu_backward)(dgate, dup, dy, gate, up, n);
}

}  // namespace ulmpi
#endif
