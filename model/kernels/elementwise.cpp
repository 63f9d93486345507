#include "model/kernels/elementwise.hpp"

#include <hwy/cache_control.h>

#include "model/kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/elementwise.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "model/kernels/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace ulmpi::HWY_NAMESPACE {

void add(Real* y, const Real* x, std::size_t n) {
    transform(
        y, n, [](Vector yi, Vector xi) HWY_ATTR { return hn::Add(yi, xi); }, y, x);
}

void add_bias(Real* y, const Real* bias, std::size_t rows, std::size_t width) {
    for (std::size_t r = 0; r < rows; ++r) add(y + r * width, bias, width);
}

void add_column_sums(Real* sums, Matrix<const Real> x) {
    const std::size_t n = x.columns;
    std::size_t r = 0;
    const auto four = [](Vector s, Vector a, Vector b, Vector c, Vector e)
                          HWY_ATTR { return hn::Add(s, hn::Add(hn::Add(a, b), hn::Add(c, e))); };
    for (; r + 4 <= x.rows; r += 4) transform(sums, n, four, sums, x.row(r), x.row(r + 1), x.row(r + 2), x.row(r + 3));
    for (; r < x.rows; ++r) add(sums, x.row(r), n);
}

void multiply(Real* y, const Real* x, std::size_t n) {
    transform(
        y, n, [](Vector yi, Vector xi) HWY_ATTR { return hn::Mul(yi, xi); }, y, x);
}

void scale(Real* y, Real factor, std::size_t n) {
    const Vector f = hn::Set(Tag(), factor);
    transform(
        y, n, [=](Vector yi) HWY_ATTR { return hn::Mul(yi, f); }, y);
}

void copy_past_cache(Real* y, const Real* x, std::size_t n) {
    const Tag d;
    const std::size_t lanes = hn::Lanes(d);
    std::size_t i = 0;
    for (; i < n && reinterpret_cast<std::uintptr_t>(y + i) % (lanes * sizeof(Real)) != 0; ++i) y[i] = x[i];
    for (; i + lanes <= n; i += lanes) hn::Stream(hn::LoadU(d, x + i), d, y + i);
    for (; i < n; ++i) y[i] = x[i];
    hwy::FlushStream();
}

/// The lanes values at x, in double.
template <typename D>
HWY_INLINE hn::Vec<D> load_double(D d, const double* x) {
    return hn::LoadU(d, x);
}
template <typename D>
HWY_INLINE hn::Vec<D> load_double(D d, const float* x) {
    return hn::PromoteTo(d, hn::LoadU(hn::Rebind<float, D>(), x));
}

double sum_of_squares(const Real* x, std::size_t n) {
    const hn::ScalableTag<double> d;
    const std::size_t lanes = hn::Lanes(d);
    auto s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
    std::size_t i = 0;
    for (; i + 4 * lanes <= n; i += 4 * lanes) {
        const auto x0 = load_double(d, x + i), x1 = load_double(d, x + i + lanes);
        const auto x2 = load_double(d, x + i + 2 * lanes), x3 = load_double(d, x + i + 3 * lanes);
        s0 = hn::MulAdd(x0, x0, s0);
        s1 = hn::MulAdd(x1, x1, s1);
        s2 = hn::MulAdd(x2, x2, s2);
        s3 = hn::MulAdd(x3, x3, s3);
    }
    double sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
    for (; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    return sum;
}

}  // namespace ulmpi::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulmpi {

HWY_EXPORT(add);
HWY_EXPORT(add_bias);
HWY_EXPORT(add_column_sums);
HWY_EXPORT(multiply);
HWY_EXPORT(scale);
HWY_EXPORT(copy_past_cache);
HWY_EXPORT(sum_of_squares);

void add(Real* y, const Real* x, std::size_t n) { HWY_DYNAMIC_DISPATCH(add)(y, x, n); }
void add_bias(Real* y, const Real* bias, std::size_t rows, std::size_t width) {
    HWY_DYNAMIC_DISPATCH(add_bias)(y, bias, rows, width);
}
void add_column_sums(Real* sums, Matrix<const Real> x) { HWY_DYNAMIC_DISPATCH(add_column_sums)(sums, x); }
void multiply(Real* y, const Real* x, std::size_t n) { HWY_DYNAMIC_DISPATCH(multiply)(y, x, n); }
void scale(Real* y, Real factor, std::size_t n) { HWY_DYNAMIC_DISPATCH(scale)(y, factor, n); }
void copy_past_cache(Real* y, const Real* x, std::size_t n) { HWY_DYNAMIC_DISPATCH(copy_past_cache)(y, x, n); }
double sum_of_squares(const Real* x, std::size_t n) { return HWY_DYNAMIC_DISPATCH(sum_of_squares)(x, n); }

}  // namespace ulmpi
#endif
