#pragma once
// The factors of the products of linear layers, in the precision that the products are made in.

#include <cassert>

#include "model/kernels/bfloat16.hpp"
#include "model/kernels/matrix.hpp"
#include "model/real.hpp"

namespace ulmpi {

/// What the factors of a product are rounded to. Sums are made in fp32 always, and nothing but products is rounded.
enum class Precision { fp32, bf16 };

/// A matrix as a factor: as it is, or rounded. Both factors of a product are of one precision.
class Factor {
public:
    explicit Factor(Matrix<const Real> full) : full_(full) {}
    explicit Factor(Matrix<const BFloat16> rounded) : rounded_(rounded), precision_(Precision::bf16) {}

    Precision precision() const { return precision_; }
    Matrix<const Real> full() const {
        assert(precision_ == Precision::fp32);
        return full_;
    }
    Matrix<const BFloat16> rounded() const {
        assert(precision_ == Precision::bf16);
        return rounded_;
    }
    Factor row_range(Range range) const {
        return precision_ == Precision::fp32 ? Factor(full_.row_range(range)) : Factor(rounded_.row_range(range));
    }
    Factor column_range(Range range) const {
        return precision_ == Precision::fp32 ? Factor(full_.column_range(range)) : Factor(rounded_.column_range(range));
    }

private:
    Matrix<const Real> full_;
    Matrix<const BFloat16> rounded_;
    Precision precision_ = Precision::fp32;
};

/// y = a b^T, a b or a^T b; with `add` y + that. Shapes as in gemm.hpp.
void matmul_nt(Matrix<Real> y, const Factor& a, const Factor& b, bool add = false);
void matmul_nn(Matrix<Real> y, const Factor& a, const Factor& b, bool add = false);
void matmul_tn(Matrix<Real> y, const Factor& a, const Factor& b, bool add = false);

/// Throws UsageError with the reason where this program on this CPU cannot make products of that precision.
void check_precision(Precision);

}  // namespace ulmpi
