#include "model/kernels/activation.hpp"

#include "tests/reference/kernel_test.hpp"

namespace ulmpi::reference {
namespace {

class ActivationKernels : public OnEveryTarget {};
ULMPI_ON_EVERY_TARGET(ActivationKernels);

using Forward = void (*)(Real*, const Real*, std::size_t);
using Backward = void (*)(Real*, const Real*, const Real*, std::size_t);

struct Activation {
    const char* name;
    Forward forward;
    Backward backward;
    Wide (*definition)(Wide);
};

const Activation activations[] = {{"gelu", gelu_forward, gelu_backward, gelu},
                                  {"relu", relu_forward, relu_backward, [](Wide x) { return std::max(x, Wide{0}); }}};

TEST_P(ActivationKernels, ForwardMatchesDefinitionAndMayAlias) {
    for (const Activation& f : activations) {
        for (std::size_t n : sizes()) {
            Reals x = values(n, 1);
            for (Real& v : x) v *= 3;
            Reals want(n), y(n);
            for (std::size_t i = 0; i < n; ++i) want[i] = static_cast<Real>(f.definition(x[i]));
            f.forward(y.data(), x.data(), n);
            expect_close(y, want, f.name);
            f.forward(x.data(), x.data(), n);
            EXPECT_EQ(x, y) << f.name << " in place";
        }
    }
}

TEST_P(ActivationKernels, BackwardMatchesCentralDifferencesAndMayAlias) {
    for (const Activation& f : activations) {
        Reals x = values(37, 2), y(37), dx(37);
        Reals dy = values(37, 3);
        f.backward(dx.data(), dy.data(), x.data(), x.size());
        if (is_double) {
            const Reals numeric = central_differences(x, [&] {
                f.forward(y.data(), x.data(), x.size());
                return dot(y, dy);
            });
            expect_gradient(dx, numeric, f.name);
        }
        f.backward(dy.data(), dy.data(), x.data(), x.size());
        EXPECT_EQ(dy, dx) << f.name << " in place";
    }
}

TEST_P(ActivationKernels, ExtremesStayFiniteAndNanIsSeen) {
    const Real large = static_cast<Real>(1e15), nan = std::nan("");
    const Reals x = {large, -large, 100, -100, 30, -30, 0}, want = {large, 0, 100, 0, 30, 0, 0};
    const Reals ones(x.size(), Real{1}), slopes = {1, 0, 1, 0, 1, 0, Real(0.5)};
    Reals y(x.size());
    gelu_forward(y.data(), x.data(), x.size());
    EXPECT_EQ(y.size(), want.size());
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(y[i], want[i], 1e-12) << x[i];
    gelu_backward(y.data(), ones.data(), x.data(), x.size());
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(y[i], slopes[i], 1e-10) << x[i];
    swiglu_forward(y.data(), x.data(), ones.data(), x.size());
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(y[i], want[i], 1e-10) << x[i];
    for (const Activation& f : activations) {
        Reals out(9);
        f.forward(out.data(), Reals(9, nan).data(), 9);
        for (Real v : out) EXPECT_TRUE(std::isnan(v)) << f.name;
    }
}

TEST_P(ActivationKernels, SwigluMatchesDefinition) {
    for (std::size_t n : sizes()) {
        const Reals gate = values(n, 4), up = values(n, 5);
        Reals want(n), y(n);
        for (std::size_t i = 0; i < n; ++i) want[i] = static_cast<Real>(silu(gate[i]) * up[i]);
        swiglu_forward(y.data(), gate.data(), up.data(), n);
        expect_close(y, want, "swiglu");
        Reals dy = values(n, 6), dgate(n), dup(n), dgate2(n);
        swiglu_backward(dgate.data(), dup.data(), dy.data(), gate.data(), up.data(), n);
        swiglu_backward(dgate2.data(), dy.data(), dy.data(), gate.data(), up.data(), n);
        EXPECT_EQ(dy, dup) << "dup may alias dy";
        EXPECT_EQ(dgate2, dgate);
    }
}

TEST_P(ActivationKernels, SwigluBackwardMatchesCentralDifferences) {
    if (!is_double) GTEST_SKIP() << "central differences need double";
    for (std::size_t n : Sizes{1, 5, 8, 37}) {
        Reals gate = values(n, 7), up = values(n, 8), y(n), dgate(n), dup(n);
        const Reals dy = values(n, 9);
        const auto loss = [&] {
            swiglu_forward(y.data(), gate.data(), up.data(), n);
            return dot(y, dy);
        };
        swiglu_backward(dgate.data(), dup.data(), dy.data(), gate.data(), up.data(), n);
        expect_gradient(dgate, central_differences(gate, loss), "dgate");
        expect_gradient(dup, central_differences(up, loss), "dup");
    }
}

}  // namespace
}  // namespace ulmpi::reference
