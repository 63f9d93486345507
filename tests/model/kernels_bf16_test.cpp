#include <bit>
#include <limits>
#include <thread>

#include "base/error.hpp"
#include "model/kernels/factor.hpp"
#include "model/kernels/gemm_bf16.hpp"
#include "tests/reference/kernel_test.hpp"

namespace ulmpi::reference {
namespace {

float widened(BFloat16 x) { return std::bit_cast<float>(std::uint32_t{x.bits} << 16); }

std::vector<BFloat16> rounded(const std::vector<float>& x) {
    std::vector<BFloat16> y(x.size());
    round_to_bfloat16(y.data(), x.data(), x.size());
    return y;
}

// Every upper half, with lower halves at, beside and on both sides of the tie: the result is one of the two neighbours
// and no neighbour is nearer; on a tie it is the even one.
TEST(BFloat16Kernels, RoundsToTheNearestEven) {
    std::vector<float> x;
    for (std::uint32_t upper = 0; upper < 0x10000; ++upper)
        for (std::uint32_t lower : {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu})
            x.push_back(std::bit_cast<float>(upper << 16 | lower));
    const std::vector<BFloat16> y = rounded(x);
    for (std::size_t i = 0; i < x.size(); ++i) {
        const auto bits = std::bit_cast<std::uint32_t>(x[i]);
        if (std::isnan(x[i])) {
            ASSERT_TRUE(std::isnan(widened(y[i]))) << std::hex << bits;
            continue;
        }
        const std::uint32_t below = bits >> 16, lower = bits & 0xffff;
        const bool up = lower > 0x8000 || (lower == 0x8000 && (below & 1));
        ASSERT_EQ(y[i].bits, static_cast<std::uint16_t>(below + (up ? 1 : 0))) << std::hex << bits;
    }
}

TEST(BFloat16Kernels, AnyLengthAndInPlace) {
    for (std::size_t n = 0; n < 70; ++n) {
        std::vector<float> x = values(n + 1, 3);
        const std::vector<BFloat16> want = rounded(x);
        std::vector<BFloat16> got(n + 1);
        round_to_bfloat16(got.data(), x.data(), n);
        EXPECT_EQ(got[n].bits, 0) << "written behind the end";
        round_to_bfloat16(reinterpret_cast<BFloat16*>(x.data()), x.data(), n);
        for (std::size_t i = 0; i < n; ++i) {
            EXPECT_EQ(got[i].bits, want[i].bits);
            EXPECT_EQ(reinterpret_cast<BFloat16*>(x.data())[i].bits, want[i].bits);
        }
    }
}

TEST(BFloat16Kernels, WideningIsExactForEveryValue) {
    std::vector<BFloat16> x(0x10000);
    for (std::size_t i = 0; i < x.size(); ++i) x[i].bits = static_cast<std::uint16_t>(i);
    std::vector<float> y(x.size());
    widen_bfloat16(y.data(), x.data(), x.size());
    for (std::size_t i = 0; i < x.size(); ++i)
        ASSERT_EQ(std::bit_cast<std::uint32_t>(y[i]), std::uint32_t{x[i].bits} << 16);
    for (std::size_t n = 0; n < 70; ++n) {
        std::vector<float> part(n + 1, 7.0F);
        widen_bfloat16(part.data(), x.data() + 16256, n);  // from 1 on
        for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(part[i], widened(x[16256 + i]));
        EXPECT_EQ(part[n], 7.0F) << "written behind the end";
    }
}

TEST(BFloat16Kernels, ByRows) {
    const std::vector<float> x = values(4 * 9, 5);
    std::vector<BFloat16> y(4 * 8);
    std::vector<float> back(4 * 7, 3.0F);
    round_to_bfloat16(Matrix<BFloat16>(y.data(), 4, 6, 8), Matrix<const float>(x.data(), 4, 6, 9));
    widen_bfloat16(Matrix<float>(back.data(), 4, 6, 7), Matrix<const BFloat16>(y.data(), 4, 6, 8));
    for (std::size_t row = 0; row < 4; ++row) {
        const std::vector<BFloat16> want = rounded({x.begin() + static_cast<std::ptrdiff_t>(9 * row), x.end()});
        for (std::size_t i = 0; i < 6; ++i) EXPECT_EQ(back[7 * row + i], widened(want[i]));
        EXPECT_EQ(back[7 * row + 6], 3.0F) << "written beside the row";
        EXPECT_EQ(y[8 * row + 6].bits, 0) << "written beside the row";
    }
}

struct RoundedProduct {
    const char* name;
    bool transpose_a, transpose_b;
    void (*multiply)(Matrix<float>, Matrix<const BFloat16>, Matrix<const BFloat16>, bool);
};
const RoundedProduct rounded_products[] = {
    {"nt", false, true, matmul_nt}, {"nn", false, false, matmul_nn}, {"tn", true, false, matmul_tn}};

// The factors are exact in double, so only the sums in float round.
void compare(const RoundedProduct& product, std::size_t m, std::size_t n, std::size_t k, std::size_t gap, bool add) {
    const std::size_t a_rows = product.transpose_a ? k : m, a_columns = product.transpose_a ? m : k;
    const std::size_t b_rows = product.transpose_b ? n : k, b_columns = product.transpose_b ? k : n;
    const std::vector<BFloat16> a = rounded(values(a_rows * (a_columns + gap), 1)),
                                b = rounded(values(b_rows * (b_columns + gap), 2));
    std::vector<float> got = values(m * (n + gap), 3);
    if (!add) std::fill(got.begin(), got.end(), std::numeric_limits<float>::quiet_NaN());
    const std::vector<float> before = got;
    product.multiply(Matrix<float>(got.data(), m, n, n + gap),
                     Matrix<const BFloat16>(a.data(), a_rows, a_columns, a_columns + gap),
                     Matrix<const BFloat16>(b.data(), b_rows, b_columns, b_columns + gap), add);
    const auto at = [](const std::vector<BFloat16>& x, std::size_t stride, std::size_t row, std::size_t column) {
        return static_cast<double>(widened(x[row * stride + column]));
    };
    for (std::size_t i = 0; i < m; ++i)
        for (std::size_t j = 0; j < n + gap; ++j) {
            const float old = before[i * (n + gap) + j], now = got[i * (n + gap) + j];
            if (j >= n) {
                ASSERT_TRUE(now == old || (std::isnan(now) && std::isnan(old))) << "written beside the window";
                continue;
            }
            double want = add ? static_cast<double>(old) : 0, size = 1;
            for (std::size_t l = 0; l < k; ++l) {
                const double term =
                    (product.transpose_a ? at(a, a_columns + gap, l, i) : at(a, a_columns + gap, i, l)) *
                    (product.transpose_b ? at(b, b_columns + gap, j, l) : at(b, b_columns + gap, l, j));
                want += term;
                size += std::abs(term);
            }
            ASSERT_LE(std::abs(static_cast<double>(now) - want), 1e-6 * size)
                << product.name << " " << m << "x" << n << "x" << k << " at " << i << ", " << j;
        }
}

TEST(Bf16Products, EveryFormAndOddSizes) {
    if (const std::string reason = no_bf16_reason(); !reason.empty()) GTEST_SKIP() << reason;
    for (const RoundedProduct& product : rounded_products)
        for (bool add : {false, true}) {
            for (std::size_t m : {0u, 1u, 2u, 5u})
                for (std::size_t n : {0u, 1u, 3u, 17u})
                    for (std::size_t k : {1u, 2u, 7u, 40u}) compare(product, m, n, k, (m + n + k) % 3, add);
            compare(product, 67, 129, 33, 5, add);
            compare(product, 64, 96, 128, 32, add);
        }
}

TEST(Bf16Products, ThreadsMayCallAtOnce) {
    if (const std::string reason = no_bf16_reason(); !reason.empty()) GTEST_SKIP() << reason;
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < 4; ++i)
        threads.emplace_back([i] {
            for (std::size_t round = 0; round < 5; ++round)
                compare(rounded_products[(i + round) % 3], 33 + round, 20, 50, 0, false);
        });
}

TEST(Bf16Products, AreRefusedWithTheReasonWhereTheyCannotBeMade) {
    EXPECT_NO_THROW(check_precision(Precision::fp32));
    if (no_bf16_reason().empty())
        EXPECT_NO_THROW(check_precision(Precision::bf16));
    else
        EXPECT_THROW(check_precision(Precision::bf16), UsageError);
}

}  // namespace
}  // namespace ulmpi::reference
