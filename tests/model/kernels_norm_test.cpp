#include "model/kernels/norm.hpp"

#include "tests/reference/kernel_test.hpp"

namespace ulmpi::reference {
namespace {

class NormKernels : public OnEveryTarget {};
ULMPI_ON_EVERY_TARGET(NormKernels);

constexpr std::size_t norm_rows = 3;
constexpr Real eps = static_cast<Real>(1e-5);

/// Rows with a mean far from 0, where a one-pass variance would lose its digits.
Reals shifted(std::size_t n, unsigned seed) {
    Reals x = values(n, seed);
    for (Real& v : x) v = 2 * v + 30;
    return x;
}

TEST_P(NormKernels, LayerNormMatchesReference) {
    for (std::size_t width : sizes()) {
        if (width == 0) continue;
        const Reals x = shifted(norm_rows * width, 1), weight = values(width, 2), bias = values(width, 3);
        for (bool with_bias : {true, false}) {
            const LayerNorm want = layer_norm(x, weight, with_bias ? bias : Reals{}, norm_rows, width, eps);
            Reals y(x.size()), mean(norm_rows), rstd(norm_rows);
            const Real* b = with_bias ? bias.data() : nullptr;
            layer_norm_forward(y.data(), mean.data(), rstd.data(), x.data(), weight.data(), b, norm_rows, width, eps);
            expect_close(mean, want.mean, "mean");
            expect_close(rstd, want.rstd, "rstd", 20);
            expect_close(y, want.y, "y", 400);  // the mean rounds at 30 eps, rstd multiplies that
            Reals again(x.size());
            layer_norm_apply(again.data(), x.data(), mean.data(), rstd.data(), weight.data(), b, norm_rows, width);
            EXPECT_EQ(again, y) << "apply rounds as forward does, width " << width;
            Reals in_place = x;
            layer_norm_forward(in_place.data(), mean.data(), rstd.data(), in_place.data(), weight.data(), b, norm_rows,
                               width, eps);
            EXPECT_EQ(in_place, y) << "y may alias x, width " << width;
        }
    }
}

TEST_P(NormKernels, RmsNormMatchesReference) {
    for (std::size_t width : sizes()) {
        if (width == 0) continue;
        const Reals x = values(norm_rows * width, 4), weight = values(width, 5);
        Reals y(x.size()), again(x.size()), rstd(norm_rows);
        rms_norm_forward(y.data(), rstd.data(), x.data(), weight.data(), norm_rows, width, eps);
        expect_close(y, rms_norm(x, weight, norm_rows, width, eps), "y");
        rms_norm_apply(again.data(), x.data(), rstd.data(), weight.data(), norm_rows, width);
        EXPECT_EQ(again, y) << "apply rounds as forward does, width " << width;
    }
}

TEST_P(NormKernels, NoRowsTouchNothing) {
    Real weight = 1, sum = 5;
    layer_norm_forward(nullptr, nullptr, nullptr, nullptr, &weight, nullptr, 0, 1, eps);
    layer_norm_backward(nullptr, &sum, &sum, nullptr, nullptr, nullptr, nullptr, &weight, 0, 1, false);
    rms_norm_forward(nullptr, nullptr, nullptr, &weight, 0, 1, eps);
    EXPECT_EQ(sum, 5);
}

TEST_P(NormKernels, BackwardMatchesCentralDifferences) {
    if (!is_double) GTEST_SKIP() << "central differences need double";
    for (std::size_t width : Sizes{1, 2, 3, 5, 7, 8, 9, 16, 37}) {
        for (bool layer : {true, false}) {
            Reals x = values(norm_rows * width, 6), weight = values(width, 7), bias = values(width, 8);
            const Reals dy = values(x.size(), 9);
            Reals y(x.size()), mean(norm_rows), rstd(norm_rows);
            const auto loss = [&] {
                if (layer)
                    layer_norm_forward(y.data(), mean.data(), rstd.data(), x.data(), weight.data(), bias.data(),
                                       norm_rows, width, Real(0.1));
                else
                    rms_norm_forward(y.data(), rstd.data(), x.data(), weight.data(), norm_rows, width, Real(0.1));
                return dot(y, dy);
            };
            const Reals numeric_dx = central_differences(x, loss);
            const Reals numeric_dweight = central_differences(weight, loss);
            const Reals numeric_dbias = central_differences(bias, loss);
            loss();
            Reals dx(x.size()), dweight(width), dbias(width);
            if (layer)
                layer_norm_backward(dx.data(), dweight.data(), dbias.data(), dy.data(), x.data(), mean.data(),
                                    rstd.data(), weight.data(), norm_rows, width, false);
            else
                rms_norm_backward(dx.data(), dweight.data(), dy.data(), x.data(), rstd.data(), weight.data(), norm_rows,
                                  width, false);
            expect_gradient(dx, numeric_dx, "dx");
            expect_gradient(dweight, numeric_dweight, "dweight");
            if (layer) expect_gradient(dbias, numeric_dbias, "dbias");
        }
    }
}

TEST_P(NormKernels, BackwardAddsAliasesAndSkips) {
    for (std::size_t width : Sizes{5, 64, 259}) {
        const Reals x = values(norm_rows * width, 10), weight = values(width, 11), dy = values(x.size(), 12);
        Reals y(x.size()), mean(norm_rows), rstd(norm_rows);
        layer_norm_forward(y.data(), mean.data(), rstd.data(), x.data(), weight.data(), nullptr, norm_rows, width, eps);
        Reals dx(x.size()), dweight(width), dbias(width);
        const auto backward = [&](Real* out, Real* dw, Real* db, const Real* in, bool add) {
            layer_norm_backward(out, dw, db, in, x.data(), mean.data(), rstd.data(), weight.data(), norm_rows, width,
                                add);
        };
        backward(dx.data(), dweight.data(), dbias.data(), dy.data(), false);
        Reals twice = dweight;
        backward(dx.data(), twice.data(), nullptr, dy.data(), false);
        Reals doubled = dweight;
        for (Real& v : doubled) v *= 2;
        expect_close(twice, doubled, "weight gradients add");
        Reals aliased = dy;
        backward(aliased.data(), nullptr, nullptr, aliased.data(), false);
        EXPECT_EQ(aliased, dx) << "dx may alias dy; null gradients are skipped";
        Reals sum(x.size(), Real{2}), want = dx;
        for (Real& v : want) v += 2;
        backward(sum.data(), nullptr, nullptr, dy.data(), true);
        expect_close(sum, want, "add_to_dx");

        rms_norm_forward(y.data(), rstd.data(), x.data(), weight.data(), norm_rows, width, eps);
        rms_norm_backward(dx.data(), nullptr, dy.data(), x.data(), rstd.data(), weight.data(), norm_rows, width, false);
        aliased = dy;
        rms_norm_backward(aliased.data(), nullptr, aliased.data(), x.data(), rstd.data(), weight.data(), norm_rows,
                          width, false);
        EXPECT_EQ(aliased, dx);
        sum.assign(x.size(), Real{2});
        want = dx;
        for (Real& v : want) v += 2;
        rms_norm_backward(sum.data(), nullptr, dy.data(), x.data(), rstd.data(), weight.data(), norm_rows, width, true);
        expect_close(sum, want, "rms add_to_dx");
    }
}

}  // namespace
}  // namespace ulmpi::reference
