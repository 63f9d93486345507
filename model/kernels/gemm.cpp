#include "model/kernels/gemm.hpp"

#include <cblas.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <vector>

#include "base/error.hpp"
#include "model/kernels/one_thread.hpp"

namespace ulmpi {

namespace {

/// While it lives, OpenBLAS works on the calling thread alone. The OpenMP build follows the OpenMP thread count of its
/// caller unless that is in a parallel region of several threads.
class OneBlasThread {
public:
    OneBlasThread() {
        static const bool done = (openblas_set_num_threads(1), true);
        static_cast<void>(done);
    }

private:
    OneThread one_thread_;
};

blasint as_int(std::size_t n) {
    assert(n <= static_cast<std::size_t>(std::numeric_limits<blasint>::max()));
    return static_cast<blasint>(n);
}

[[maybe_unused]] void gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, blasint m, blasint n, blasint k, float alpha,
                           const float* a, blasint lda, const float* b, blasint ldb, float beta, float* y,
                           blasint ldy) {
    cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, y, ldy);
}

[[maybe_unused]] void gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, blasint m, blasint n, blasint k, double alpha,
                           const double* a, blasint lda, const double* b, blasint ldb, double beta, double* y,
                           blasint ldy) {
    cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, y, ldy);
}

/// y = alpha op(a) op(b) + beta y, the shapes of op(a) (m, k) and op(b) (k, n) checked by the callers.
void multiply(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, Matrix<Real> y, Matrix<const Real> a, Matrix<const Real> b,
              std::size_t k, Real alpha, Real beta) {
    if (y.rows == 0 || y.columns == 0) return;
    if (k == 0) {
        for (std::size_t i = 0; i < y.rows; ++i)
            for (std::size_t j = 0; j < y.columns; ++j) y.row(i)[j] = beta == 0 ? 0 : beta * y.row(i)[j];
        return;
    }
    const OneBlasThread one_thread;
    gemm(ta, tb, as_int(y.rows), as_int(y.columns), as_int(k), alpha, a.data, as_int(a.stride), b.data,
         as_int(b.stride), beta, y.data, as_int(y.stride));
}

}  // namespace

void matmul_nt(Matrix<Real> y, Matrix<const Real> a, Matrix<const Real> b, Real alpha, Real beta) {
    assert(y.rows == a.rows && y.columns == b.rows && a.columns == b.columns);
    multiply(CblasNoTrans, CblasTrans, y, a, b, a.columns, alpha, beta);
}

void matmul_nn(Matrix<Real> y, Matrix<const Real> a, Matrix<const Real> b, Real alpha, Real beta) {
    assert(y.rows == a.rows && y.columns == b.columns && a.columns == b.rows);
    multiply(CblasNoTrans, CblasNoTrans, y, a, b, a.columns, alpha, beta);
}

void matmul_tn(Matrix<Real> y, Matrix<const Real> a, Matrix<const Real> b, Real alpha, Real beta) {
    assert(y.rows == a.columns && y.columns == b.columns && a.rows == b.rows);
    multiply(CblasTrans, CblasNoTrans, y, a, b, a.rows, alpha, beta);
}

std::string blas_kernels() { return openblas_get_corename(); }

double measure_gemm_peak(int threads, double seconds) {
    check_usage(threads >= 1, "the GEMM peak needs at least one thread");
    constexpr std::size_t n = 2048;
    const std::vector<Real> a(n * n, Real{1}), b(n * n, Real{1});
    std::vector<Real> y(n * n);
    const auto multiply_once = [&] {
#pragma omp parallel num_threads(threads)
        {
            const auto worker = static_cast<std::size_t>(omp_get_thread_num());
            const auto team = static_cast<std::size_t>(omp_get_num_threads());
            const Range mine{n * worker / team, n * (worker + 1) / team};
            matmul_nn(Matrix<Real>(y.data(), n, n).row_range(mine), Matrix<const Real>(a.data(), n, n).row_range(mine),
                      Matrix<const Real>(b.data(), n, n));
        }
    };
    using Clock = std::chrono::steady_clock;
    const auto seconds_since = [](Clock::time_point start) {
        return std::chrono::duration<double>(Clock::now() - start).count();
    };
    multiply_once();
    std::vector<double> times;
    const auto begin = Clock::now();
    while (times.size() < 3 || seconds_since(begin) < seconds) {
        const auto start = Clock::now();
        multiply_once();
        times.push_back(seconds_since(start));
    }
    const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
    std::nth_element(times.begin(), middle, times.end());
    return 2.0 * n * n * n / *middle * 1e-9;
}

}  // namespace ulmpi
