#include "model/kernels/norm.hpp"

#include <cmath>

#include "model/kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/norm.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "model/kernels/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace ulmpi::HWY_NAMESPACE {

/// y = (x - mean) rstd weight + bias for one row. Never inlined: forward and apply round alike.
HWY_NOINLINE void layer_norm_row(Real* y, const Real* x, Real mean, Real rstd, const Real* weight, const Real* bias,
                                 std::size_t width) {
    const Tag d;
    const Vector vm = hn::Set(d, mean), vr = hn::Set(d, rstd);
    const auto z = [=](Vector xi) HWY_ATTR { return hn::Mul(hn::Sub(xi, vm), vr); };
    if (bias)
        transform(
            y, width, [=](Vector xi, Vector w, Vector b) HWY_ATTR { return hn::MulAdd(z(xi), w, b); }, x, weight, bias);
    else
        transform(
            y, width, [=](Vector xi, Vector w) HWY_ATTR { return hn::Mul(z(xi), w); }, x, weight);
}

void layer_norm_forward(Real* y, Real* mean, Real* rstd, const Real* x, const Real* weight, const Real* bias,
                        std::size_t rows, std::size_t width, Real eps) {
    const Tag d;
    const auto n = static_cast<Real>(width);
    for (std::size_t r = 0; r < rows; ++r, x += width, y += width) {
        mean[r] = sum_of(
                      width, [](Vector xi) HWY_ATTR { return xi; }, x) /
                  n;
        const Vector vm = hn::Set(d, mean[r]);
        const auto square = [=](Vector xi) HWY_ATTR {
            const Vector c = hn::Sub(xi, vm);
            return hn::Mul(c, c);
        };
        rstd[r] = 1 / std::sqrt(sum_of(width, square, x) / n + eps);
        layer_norm_row(y, x, mean[r], rstd[r], weight, bias, width);
    }
}

void layer_norm_apply(Real* y, const Real* x, const Real* mean, const Real* rstd, const Real* weight, const Real* bias,
                      std::size_t rows, std::size_t width) {
    for (std::size_t r = 0; r < rows; ++r)
        layer_norm_row(y + r * width, x + r * width, mean[r], rstd[r], weight, bias, width);
}

/// dweight += dy z, dbias += dy for one row, z = (x - mean) rstd.
void add_weight_gradients(Real* dweight, Real* dbias, const Real* dy, const Real* x, Real mean, Real rstd,
                          std::size_t width) {
    const Tag d;
    const Vector vm = hn::Set(d, mean), vr = hn::Set(d, rstd);
    if (dweight)
        transform(
            dweight, width,
            [=](Vector sum, Vector g, Vector xi) HWY_ATTR { return hn::MulAdd(g, hn::Mul(hn::Sub(xi, vm), vr), sum); },
            dweight, dy, x);
    if (dbias)
        transform(
            dbias, width, [](Vector sum, Vector g) HWY_ATTR { return hn::Add(sum, g); }, dbias, dy);
}

/// dx (+)= rstd (g - mean_g - z mean_gz) for one row, g = dy weight, z = (x - mean) rstd.
void input_gradient(Real* dx, const Real* dy, const Real* x, const Real* weight, Real mean, Real rstd, Real mean_g,
                    Real mean_gz, std::size_t width, bool add_to_dx) {
    const Tag d;
    const Vector vm = hn::Set(d, mean), vr = hn::Set(d, rstd), g0 = hn::Set(d, mean_g), g1 = hn::Set(d, mean_gz);
    const auto value = [=](Vector g, Vector xi, Vector w) HWY_ATTR {
        const Vector z = hn::Mul(hn::Sub(xi, vm), vr);
        return hn::Mul(vr, hn::NegMulAdd(z, g1, hn::MulSub(g, w, g0)));
    };
    if (add_to_dx)
        transform(
            dx, width,
            [=](Vector sum, Vector g, Vector xi, Vector w) HWY_ATTR { return hn::Add(sum, value(g, xi, w)); }, dx, dy,
            x, weight);
    else
        transform(dx, width, value, dy, x, weight);
}

void layer_norm_backward(Real* dx, Real* dweight, Real* dbias, const Real* dy, const Real* x, const Real* mean,
                         const Real* rstd, const Real* weight, std::size_t rows, std::size_t width, bool add_to_dx) {
    const Tag d;
    const auto n = static_cast<Real>(width);
    for (std::size_t r = 0; r < rows; ++r, x += width, dx += width, dy += width) {
        const Vector vm = hn::Set(d, mean[r]), vr = hn::Set(d, rstd[r]);
        const Real g = sum_of(
            width, [](Vector gi, Vector w) HWY_ATTR { return hn::Mul(gi, w); }, dy, weight);
        const auto product = [=](Vector gi, Vector w, Vector xi)
                                 HWY_ATTR { return hn::Mul(hn::Mul(gi, w), hn::Mul(hn::Sub(xi, vm), vr)); };
        const Real gz = sum_of(width, product, dy, weight, x);
        add_weight_gradients(dweight, dbias, dy, x, mean[r], rstd[r], width);
        input_gradient(dx, dy, x, weight, mean[r], rstd[r], g / n, gz / n, width, add_to_dx);
    }
}

/// y = x rstd weight for one row. Never inlined: forward and apply round alike.
HWY_NOINLINE void rms_norm_row(Real* y, const Real* x, Real rstd, const Real* weight, std::size_t width) {
    const Vector vr = hn::Set(Tag(), rstd);
    transform(
        y, width, [=](Vector xi, Vector w) HWY_ATTR { return hn::Mul(hn::Mul(xi, vr), w); }, x, weight);
}

void rms_norm_forward(Real* y, Real* rstd, const Real* x, const Real* weight, std::size_t rows, std::size_t width,
                      Real eps) {
    for (std::size_t r = 0; r < rows; ++r) {
        const Real* row = x + r * width;
        const Real squares = sum_of(
            width, [](Vector xi) HWY_ATTR { return hn::Mul(xi, xi); }, row);
        rstd[r] = 1 / std::sqrt(squares / static_cast<Real>(width) + eps);
        rms_norm_row(y + r * width, row, rstd[r], weight, width);
    }
}

void rms_norm_apply(Real* y, const Real* x, const Real* rstd, const Real* weight, std::size_t rows, std::size_t width) {
    for (std::size_t r = 0; r < rows; ++r) rms_norm_row(y + r * width, x + r * width, rstd[r], weight, width);
}

void rms_norm_backward(Real* dx, Real* dweight, const Real* dy, const Real* x, const Real* rstd, const Real* weight,
                       std::size_t rows, std::size_t width, bool add_to_dx) {
    const auto n = static_cast<Real>(width);
    for (std::size_t r = 0; r < rows; ++r, x += width, dx += width, dy += width) {
        const auto product = [](Vector gi, Vector w, Vector xi) HWY_ATTR { return hn::Mul(hn::Mul(gi, w), xi); };
        const Real gz = sum_of(width, product, dy, weight, x) * rstd[r];
        add_weight_gradients(dweight, nullptr, dy, x, 0, rstd[r], width);
        input_gradient(dx, dy, x, weight, 0, rstd[r], 0, gz / n, width, add_to_dx);
    }
}

}  // namespace ulmpi::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulmpi {

HWY_EXPORT(layer_norm_forward);
HWY_EXPORT(layer_norm_apply);
HWY_EXPORT(layer_norm_backward);
HWY_EXPORT(rms_norm_forward);
HWY_EXPORT(rms_norm_apply);
HWY_EXPORT(rms_norm_backward);

void layer_norm_forward(Real* y, Real* mean, Real* rstd, const Real* x, const Real* weight, const Real* bias,
                        std::size_t rows, std::size_t width, Real eps) {
    HWY_DYNAMIC_DISPATCH(layer_norm_forward)(y, mean, rstd, x, weight, bias, rows, width, eps);
}
void layer_norm_apply(Real* y, const Real* x, const Real* mean, const Real* rstd, const Real* weight, const Real* bias,
                      std::size_t rows, std::size_t width) {
    HWY_DYNAMIC_DISPATCH(layer_norm_apply)(y, x, mean, rstd, weight, bias, rows, width);
}
void layer_norm_backward(Real* dx, Real* dweight, Real* dbias, const Real* dy, const Real* x, const Real* mean,
                         const Real* rstd, const Real* weight, std::size_t rows, std::size_t width, bool add_to_dx) {
    HWY_DYNAMIC_DISPATCH(layer_norm_backward)
    (dx, dweight, dbias, dy, x, mean, rstd, weight, rows, width, add_to_dx);
}
void rms_norm_forward(Real* y, Real* rstd, const Real* x, const Real* weight, std::size_t rows, std::size_t width,
                      Real eps) {
    HWY_DYNAMIC_DISPATCH(rms_norm_forward)(y, rstd, x, weight, rows, width, eps);
}
void rms_norm_apply(Real* y, const Real* x, const Real* rstd, const Real* weight, std::size_t rows, std::size_t width) {
    HWY_DYNAMIC_DISPATCH(rms_norm_apply)(y, x, rstd, weight, rows, width);
}
void rms_norm_backward(Real* dx, Real* dweight, const Real* dy, const Real* x, const Real* rstd, const Real* weight,
                       std::size_t rows, std::size_t width, bool add_to_dx) {
    HWY_DYNAMIC_DISPATCH(rms_norm_backward)(dx, dweight, dy, x, rstd, weight, rows, width, add_to_dx);
}

}  // namespace ulmpi
#endif
