#include "model/kernels/cross_entropy.hpp"

#include <algorithm>

#include "model/kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/cross_entropy.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "model/kernels/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace ulmpi::HWY_NAMESPACE {

void row_maximum(Real* maximum, const Real* logits, std::size_t rows, std::size_t columns, std::size_t stride) {
    for (std::size_t r = 0; r < rows; ++r)
        maximum[r] = maximum_of(
            columns, [](Vector x) HWY_ATTR { return x; }, logits + r * stride);
}

/// The column of a target in this slice, or `columns` when it lies elsewhere or is ignored.
std::size_t local_column(std::int32_t target, std::size_t first, std::size_t columns) {
    if (target < 0 || static_cast<std::size_t>(target) < first) return columns;
    return std::min(static_cast<std::size_t>(target) - first, columns);
}

void exp_and_sum(Real* logits, Real* sum, Real* target_logit, const Real* maximum, const std::int32_t* targets,
                 std::size_t first, std::size_t rows, std::size_t columns, std::size_t stride) {
    for (std::size_t r = 0; r < rows; ++r) {
        Real* row = logits + r * stride;
        const std::size_t target = local_column(targets[r], first, columns);
        target_logit[r] = target < columns ? row[target] - maximum[r] : Real{0};
        sum[r] = exponentials_and_sum(row, maximum[r], columns);
    }
}

void cross_entropy_gradient(Real* logits, const Real* sum, const Real* scale, const std::int32_t* targets,
                            std::size_t first, std::size_t rows, std::size_t columns, std::size_t stride) {
    for (std::size_t r = 0; r < rows; ++r) {
        Real* row = logits + r * stride;
        if (targets[r] < 0 || scale[r] == 0) {
            std::fill_n(row, columns, Real{0});
            continue;
        }
        const Vector factor = hn::Set(Tag(), scale[r] / sum[r]);
        transform(
            row, columns, [=](Vector e) HWY_ATTR { return hn::Mul(e, factor); }, row);
        const std::size_t target = local_column(targets[r], first, columns);
        if (target < columns) row[target] -= scale[r];
    }
}

}  // namespace ulmpi::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulmpi {

HWY_EXPORT(row_maximum);
HWY_EXPORT(exp_and_sum);
HWY_EXPORT(cross_entropy_gradient);

void row_maximum(Real* maximum, const Real* logits, std::size_t rows, std::size_t columns, std::size_t stride) {
    HWY_DYNAMIC_DISPATCH(row_maximum)(maximum, logits, rows, columns, stride);
}
void exp_and_sum(Real* logits, Real* sum, Real* target_logit, const Real* maximum, const std::int32_t* targets,
                 std::size_t first, std::size_t rows, std::size_t columns, std::size_t stride) {
    HWY_DYNAMIC_DISPATCH(exp_and_sum)(logits, sum, target_logit, maximum, targets, first, rows, columns, stride);
}
void cross_entropy_gradient(Real* logits, const Real* sum, const Real* scale, const std::int32_t* targets,
                            std::size_t first, std::size_t rows, std::size_t columns, std::size_t stride) {
    HWY_DYNAMIC_DISPATCH(cross_entropy_gradient)(logits, sum, scale, targets, first, rows, columns, stride);
}

}  // namespace ulmpi
#endif
