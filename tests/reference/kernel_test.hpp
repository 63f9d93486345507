#pragma once
// What the tests of kernels share: a fixture that runs each test on every instruction set, values, comparisons, and
// derivatives by central differences.

#include <gtest/gtest.h>

#include "model/kernels/simd_targets.hpp"
// Highway's headers come behind the choice of targets.
#include <hwy/highway.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

#include "model/real.hpp"
#include "tests/reference/kernels.hpp"

namespace ulmpi::reference {

/// Relative error that a short chain of operations may show.
inline constexpr double tolerance = sizeof(Real) == 8 ? 2e-14 : 5e-6;
inline constexpr bool is_double = sizeof(Real) == 8;

using Sizes = std::initializer_list<std::size_t>;

/// Each test runs once for every instruction set that was compiled and that this machine has.
class OnEveryTarget : public testing::TestWithParam<std::int64_t> {
protected:
    void SetUp() override { choose(GetParam()); }
    void TearDown() override { choose(0); }

private:
    static void choose(std::int64_t targets) {
        hwy::SetSupportedTargetsForTest(targets);
        hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    }
};

inline std::string target_name(const testing::TestParamInfo<std::int64_t>& info) { return hwy::TargetName(info.param); }

#define ULMPI_ON_EVERY_TARGET(suite)                                                                \
    INSTANTIATE_TEST_SUITE_P(Target, suite, testing::ValuesIn(hwy::SupportedAndGeneratedTargets()), \
                             ::ulmpi::reference::target_name)

/// n values of the standard normal distribution.
inline Reals values(std::size_t n, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<double> normal;
    Reals result(n);
    for (Real& x : result) x = static_cast<Real>(normal(generator));
    return result;
}

/// Sizes around every vector width, and some large odd ones.
inline std::vector<std::size_t> sizes() {
    return {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 259, 1001, 4099};
}

/// |got - want| <= slack * tolerance * max(1, largest |want|), element by element.
inline void expect_close(const Reals& got, const Reals& want, const std::string& what, double slack = 1) {
    ASSERT_EQ(got.size(), want.size()) << what;
    double largest = 1;
    for (Real w : want) largest = std::max(largest, std::abs(static_cast<double>(w)));
    for (std::size_t i = 0; i < got.size(); ++i) {
        const double error = std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
        ASSERT_LE(error, slack * tolerance * largest) << what << "[" << i << "] of " << got.size();  // NaN fails too
    }
}

/// The derivative of f by each element of x, by central differences.
inline Reals central_differences(Reals& x, const std::function<double()>& f) {
    constexpr double h = 1e-5;
    Reals gradient(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        const Real before = x[i];
        x[i] = before + static_cast<Real>(h);
        const double above = f();
        x[i] = before - static_cast<Real>(h);
        const double below = f();
        x[i] = before;
        gradient[i] = static_cast<Real>((above - below) / (2 * h));
    }
    return gradient;
}

/// Relative error in the Euclidean norm under 1e-7.
inline void expect_gradient(const Reals& got, const Reals& numeric, const std::string& what) {
    ASSERT_EQ(got.size(), numeric.size()) << what;
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        error += std::pow(static_cast<double>(got[i]) - static_cast<double>(numeric[i]), 2);
        norm += std::pow(static_cast<double>(numeric[i]), 2);
    }
    ASSERT_LE(std::sqrt(error), 1e-7 * std::sqrt(norm) + 1e-10) << what;
}

inline double dot(const Reals& a, const Reals& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    return sum;
}

}  // namespace ulmpi::reference
