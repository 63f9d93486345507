#include "model/kernels/elementwise.hpp"

#include "model/kernels/adamw.hpp"
#include "tests/reference/kernel_test.hpp"

namespace ulmpi::reference {
namespace {

class ElementwiseKernels : public OnEveryTarget {};
ULMPI_ON_EVERY_TARGET(ElementwiseKernels);

TEST_P(ElementwiseKernels, AddAndScaleAreExactPerElement) {
    for (std::size_t n : sizes()) {
        const Reals x = values(n, 1), y = values(n, 2);
        Reals sum = y, want = y;
        for (std::size_t i = 0; i < n; ++i) want[i] = y[i] + x[i];
        add(sum.data(), x.data(), n);
        EXPECT_EQ(sum, want);
        for (Real& v : want) v *= Real(0.3);
        scale(sum.data(), Real(0.3), n);
        EXPECT_EQ(sum, want);
    }
}

TEST_P(ElementwiseKernels, NothingIsWrittenPastTheEnd) {
    for (std::size_t n : Sizes{1, 3, 7, 9, 17}) {
        Reals y(n + 20, Real{7});
        const Reals x(n, Real{1});
        add(y.data(), x.data(), n);
        for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], i < n ? 8 : 7);
    }
}

TEST_P(ElementwiseKernels, CopyFromAndToAnyAddress) {
    for (std::size_t n : sizes())
        for (std::size_t from : Sizes{0, 1, 3})
            for (std::size_t to : Sizes{0, 1, 2, 5, 15}) {
                const Reals x = values(n + from, 8);
                Reals y(n + to + 3, Real{7}), want = y;
                std::copy_n(x.begin() + static_cast<std::ptrdiff_t>(from), n,
                            want.begin() + static_cast<std::ptrdiff_t>(to));
                copy_past_cache(y.data() + to, x.data() + from, n);
                EXPECT_EQ(y, want);
            }
}

TEST_P(ElementwiseKernels, BiasAndItsGradient) {
    for (std::size_t rows : Sizes{0, 1, 2, 3, 4, 5, 8, 131}) {
        for (std::size_t width : Sizes{1, 5, 16, 33}) {
            const Reals bias = values(width, 3), x = values(rows * width, 4);
            Reals y = x, want = x;
            for (std::size_t i = 0; i < y.size(); ++i) want[i] += bias[i % width];
            add_bias(y.data(), bias.data(), rows, width);
            EXPECT_EQ(y, want);

            const std::size_t first = width / 3, columns = width - first;  // a slice of the columns
            Reals sums = values(columns, 5), expected = sums;
            for (std::size_t j = 0; j < columns; ++j) {
                Wide sum = sums[j];
                for (std::size_t r = 0; r < rows; ++r) sum += x[r * width + first + j];
                expected[j] = static_cast<Real>(sum);
            }
            add_column_sums(sums.data(), Matrix<const Real>(x.data() + first, rows, columns, width));
            expect_close(sums, expected, "column sums", 5);
        }
    }
}

TEST_P(ElementwiseKernels, SumOfSquaresIsDoubleAndBlindToAlignment) {
    for (std::size_t n : sizes()) {
        Reals x = values(n + 1, 6);
        Wide want = 0;
        for (std::size_t i = 0; i < n; ++i) want += Wide{x[i]} * x[i];
        const double got = sum_of_squares(x.data(), n);
        EXPECT_NEAR(got, static_cast<double>(want), 1e-13 * static_cast<double>(want));
        std::move_backward(x.begin(), x.end() - 1, x.end());
        EXPECT_EQ(sum_of_squares(x.data() + 1, n), got) << "another alignment";
    }
}

TEST_P(ElementwiseKernels, AdamwFollowsItsDefinitionOverSteps) {
    for (std::size_t n : Sizes{0, 1, 5, 8, 17, 259}) {
        Reals p = values(n, 7), m(n), v(n), gradient;
        std::vector<Wide> wp(p.begin(), p.end()), wm(n), wv(n);
        AdamwStep step{.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1};
        step.gradient_scale = 0.7;
        for (unsigned t = 1; t <= 4; ++t) {
            gradient = values(n, 100 + t);
            step.correction1 = 1 - std::pow(step.beta1, t);
            step.correction2 = 1 - std::pow(step.beta2, t);
            for (std::size_t i = 0; i < n; ++i) {
                const Wide g = gradient[i] * Wide{step.gradient_scale};
                wp[i] *= 1 - Wide{step.lr} * step.weight_decay;
                wm[i] = step.beta1 * wm[i] + (1 - Wide{step.beta1}) * g;
                wv[i] = step.beta2 * wv[i] + (1 - Wide{step.beta2}) * g * g;
                wp[i] -= step.lr * (wm[i] / step.correction1) / (std::sqrt(wv[i] / step.correction2) + step.eps);
            }
            adamw_update(p.data(), gradient.data(), m.data(), v.data(), n, step);
            EXPECT_EQ(gradient, Reals(n)) << "the gradient is zero behind the update";
        }
        expect_close(p, Reals(wp.begin(), wp.end()), "p");
        expect_close(m, Reals(wm.begin(), wm.end()), "m");
        expect_close(v, Reals(wv.begin(), wv.end()), "v");
    }
}

}  // namespace
}  // namespace ulmpi::reference
