#include "model/kernels/lstm.hpp"

#include "model/kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/lstm.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "model/kernels/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace ulmpi::HWY_NAMESPACE {

/// Calls step(load, store) for each vector of n values; the two read and write the vector's place in an array.
template <typename Step>
HWY_INLINE void for_each_vector(std::size_t n, Step step) {
    const Tag d;
    const std::size_t lanes = hn::Lanes(d);
    for (std::size_t at = 0; at < n; at += lanes) {
        const std::size_t count = HWY_MIN(lanes, n - at);
        const bool whole = count == lanes;
        const auto load = [=](const Real* p)
                              HWY_ATTR { return whole ? hn::LoadU(d, p + at) : load_part(d, p + at, count); };
        const auto store = [=](Vector v, Real* p) HWY_ATTR {
            if (whole)
                hn::StoreU(v, d, p + at);
            else
                store_part(v, d, p + at, count);
        };
        step(load, store);
    }
}

void lstm_forward(const LstmGates& gates, Real* c, Real* h, const Real* before, std::size_t n) {
    const Tag d;
    for_each_vector(n, [=](auto load, auto store) HWY_ATTR {
        const Vector i = sigmoid(d, load(gates.i)), f = sigmoid(d, load(gates.f));
        const Vector g = hn::Tanh(d, load(gates.g)), o = sigmoid(d, load(gates.o));
        const Vector cell = hn::MulAdd(f, load(before), hn::Mul(i, g));
        store(i, gates.i);
        store(f, gates.f);
        store(g, gates.g);
        store(o, gates.o);
        store(cell, c);
        store(hn::Mul(o, hn::Tanh(d, cell)), h);
    });
}

// With T = tanh(c):  dc += dh o (1 - T²);  di = dc g i (1 - i),  df = dc c' f (1 - f),  dg = dc i (1 - g²),
// do = dh T o (1 - o);  dc' = dc f.
void lstm_backward(const LstmGates& gates, Real* dc, const Real* dh, const Real* c, const Real* before, std::size_t n) {
    const Tag d;
    const Vector one = hn::Set(d, Real{1});
    for_each_vector(n, [=](auto load, auto store) HWY_ATTR {
        const Vector i = load(gates.i), f = load(gates.f), g = load(gates.g), o = load(gates.o);
        const Vector dhi = load(dh), t = hn::Tanh(d, load(c));
        const Vector dci = hn::MulAdd(hn::Mul(dhi, o), hn::NegMulAdd(t, t, one), load(dc));
        store(hn::Mul(hn::Mul(dci, g), hn::NegMulAdd(i, i, i)), gates.i);
        store(hn::Mul(hn::Mul(dci, load(before)), hn::NegMulAdd(f, f, f)), gates.f);
        store(hn::Mul(hn::Mul(dci, i), hn::NegMulAdd(g, g, one)), gates.g);
        store(hn::Mul(hn::Mul(dhi, t), hn::NegMulAdd(o, o, o)), gates.o);
        store(hn::Mul(dci, f), dc);
    });
}

}  // namespace ulmpi::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulmpi {

HWY_EXPORT(lstm_forward);
HWY_EXPORT(lstm_backward);

void lstm_forward(const LstmGates& gates, Real* c, Real* h, const Real* before, std::size_t n) {
    HWY_DYNAMIC_DISPATCH(lstm_forward)(gates, c, h, before, n);
}
void lstm_backward(const LstmGates& gates, Real* dc, const Real* dh, const Real* c, const Real* before, std::size_t n) {
    HWY_DYNAMIC_DISPATCH(lstm_backward)(gates, dc, dh, c, before, n);
}

}  // namespace ulmpi
#endif
