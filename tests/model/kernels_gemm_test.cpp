#include "model/kernels/gemm.hpp"

#include <omp.h>

#include <atomic>
#include <thread>

#include "model/kernels/instruction_peak.hpp"
#include "tests/reference/kernel_test.hpp"

namespace ulmpi::reference {
namespace {

/// y = alpha op(a) op(b) + beta y by its definition; at(matrix, i, j) reads through a transposition.
Real entry(const Matrix<const Real>& x, std::size_t i, std::size_t j, bool transposed) {
    return transposed ? x.row(j)[i] : x.row(i)[j];
}

struct Product {
    const char* name;
    bool transpose_a, transpose_b;
    void (*multiply)(Matrix<Real>, Matrix<const Real>, Matrix<const Real>, Real, Real);
};
const Product products[] = {
    {"nt", false, true, matmul_nt}, {"nn", false, false, matmul_nn}, {"tn", true, false, matmul_tn}};

void compare(const Product& product, std::size_t m, std::size_t n, std::size_t k, std::size_t gap, Real alpha,
             Real beta) {
    const std::size_t a_rows = product.transpose_a ? k : m, a_columns = product.transpose_a ? m : k;
    const std::size_t b_rows = product.transpose_b ? n : k, b_columns = product.transpose_b ? k : n;
    const Reals a_values = values(a_rows * (a_columns + gap), 1), b_values = values(b_rows * (b_columns + gap), 2);
    Reals got = values(m * (n + gap), 3);
    if (beta == 0) std::fill(got.begin(), got.end(), static_cast<Real>(std::nan("")));
    const Reals before = got;
    const Matrix<const Real> a(a_values.data(), a_rows, a_columns, a_columns + gap);
    const Matrix<const Real> b(b_values.data(), b_rows, b_columns, b_columns + gap);
    const Matrix<Real> y(got.data(), m, n, n + gap);
    product.multiply(y, a, b, alpha, beta);
    for (std::size_t i = 0; i < m; ++i) {
        for (std::size_t j = 0; j < n + gap; ++j) {
            const Real old = before[i * (n + gap) + j], now = got[i * (n + gap) + j];
            if (j >= n) {
                ASSERT_TRUE(now == old || (std::isnan(now) && std::isnan(old))) << "written beside the window";
                continue;
            }
            Wide want = beta == 0 ? Wide{0} : Wide{beta} * old, size = 1;
            for (std::size_t l = 0; l < k; ++l) {
                const Wide term = Wide{entry(a, i, l, product.transpose_a)} * entry(b, l, j, product.transpose_b);
                want += alpha * term;
                size += std::abs(term);
            }
            ASSERT_LE(std::abs(static_cast<double>(now - want)), tolerance * static_cast<double>(size))
                << product.name << " " << m << "x" << n << "x" << k << " at " << i << ", " << j;
        }
    }
}

TEST(GemmKernels, EverySmallSizeEveryForm) {
    for (const Product& product : products)
        for (std::size_t m = 0; m <= 9; ++m)
            for (std::size_t n = 0; n <= 9; ++n)
                for (std::size_t k = 0; k <= 9; ++k)
                    compare(product, m, n, k, (m + n + k) % 3, Real(0.5), k % 2 ? Real{1} : Real{0});
}

TEST(GemmKernels, LargeOddSizes) {
    for (const Product& product : products)
        for (Real beta : {Real{0}, Real{1}, Real(-0.25)}) {
            compare(product, 67, 129, 33, 5, 1, beta);
            compare(product, 1, 301, 77, 0, 1, beta);
            compare(product, 255, 1, 131, 1, 2, beta);
            compare(product, 131, 65, 0, 1, 2, beta);
        }
}

TEST(GemmKernels, ViewsAreMatrices) {
    Reals a = {1, 2, 3, 4}, b = {5, 6}, y(2);
    matmul_nt(View<Real>{y.data(), {2, 1}}, View<Real>{a.data(), {2, 2}}, View<const Real>{b.data(), {1, 2}});
    EXPECT_EQ(y, (Reals{17, 39}));
}

TEST(GemmKernels, ThreadsMayCallAtOnceAndTheirOpenmpCountStays) {
    const std::size_t n = 160;
    const Reals a = values(n * n, 1), b = values(n * n, 2);
    Reals want(n * n);
    const Matrix<const Real> ma(a.data(), n, n), mb(b.data(), n, n);
    omp_set_num_threads(2);
    matmul_nn(Matrix<Real>(want.data(), n, n), ma, mb);
    EXPECT_EQ(omp_get_max_threads(), 2);
    std::atomic<int> wrong = 0;
    const auto work = [&] {
        for (int round = 0; round < 20; ++round) {
            Reals y(n * n);
            matmul_nn(Matrix<Real>(y.data(), n, n), ma, mb);
            if (y != want) ++wrong;
        }
    };
    {
        std::vector<std::jthread> threads;
        for (int i = 0; i < 4; ++i) threads.emplace_back(work);
    }
#pragma omp parallel num_threads(4)
    work();
    EXPECT_EQ(wrong, 0);
}

TEST(GemmKernels, PeakIsMeasured) {
    EXPECT_FALSE(blas_kernels().empty());
    EXPECT_THROW(measure_gemm_peak(0, 0), std::exception);
    EXPECT_THROW(measure_instruction_peak(Precision::fp32, 0, 0), std::exception);
    EXPECT_GT(measure_instruction_peak(Precision::fp32, 2, 0), 0);
    EXPECT_GE(measure_instruction_peak(Precision::bf16, 2, 0), 0);
}

}  // namespace
}  // namespace ulmpi::reference
