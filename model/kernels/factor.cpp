#include "model/kernels/factor.hpp"

#include <type_traits>

#include "base/error.hpp"
#include "model/kernels/gemm.hpp"
#include "model/kernels/gemm_bf16.hpp"

namespace ulmpi {
namespace {

// The one place that knows both libraries. The double build makes no bf16 products.
template <typename Full, typename Rounded>
void multiply(Matrix<Real> y, const Factor& a, const Factor& b, bool add, Full full, Rounded rounded) {
    assert(a.precision() == b.precision());
    if (a.precision() == Precision::fp32) return full(y, a.full(), b.full(), 1, add ? Real(1) : Real(0));
    if constexpr (std::is_same_v<Real, float>)
        rounded(y, a.rounded(), b.rounded(), add);
    else
        static_cast<void>(rounded);
}

using FullProduct = void (*)(Matrix<Real>, Matrix<const Real>, Matrix<const Real>, Real, Real);
using RoundedProduct = void (*)(Matrix<float>, Matrix<const BFloat16>, Matrix<const BFloat16>, bool);

}  // namespace

void matmul_nt(Matrix<Real> y, const Factor& a, const Factor& b, bool add) {
    multiply(y, a, b, add, FullProduct(matmul_nt), RoundedProduct(matmul_nt));
}

void matmul_nn(Matrix<Real> y, const Factor& a, const Factor& b, bool add) {
    multiply(y, a, b, add, FullProduct(matmul_nn), RoundedProduct(matmul_nn));
}

void matmul_tn(Matrix<Real> y, const Factor& a, const Factor& b, bool add) {
    multiply(y, a, b, add, FullProduct(matmul_tn), RoundedProduct(matmul_tn));
}

void check_precision(Precision precision) {
    if (precision == Precision::fp32) return;
    const std::string reason = std::is_same_v<Real, float> ? no_bf16_reason() : "this is the double build";
    check_usage(reason.empty(), "--precision bf16 cannot be had: {}; use --precision fp32", reason);
}

}  // namespace ulmpi
