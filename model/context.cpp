#include "model/context.hpp"

namespace ulmpi {

Factor Context::own_factor(Matrix<const Real> x) {
    if (precision == Precision::fp32) return Factor(x);
    const Matrix<BFloat16> rounded(own.allocate<BFloat16>({x.rows, x.columns}));
    round_to_bfloat16(rounded, x);
    return Factor(Matrix<const BFloat16>(rounded));
}

Factor Context::shared_factor(View<const Real> x, Range mine) {
    if (precision == Precision::fp32) return Factor(Matrix<const Real>(x));
    const Matrix<BFloat16> rounded(shared.allocate<BFloat16>({x.rows(), x.columns()}));
    round_to_bfloat16(rounded.row_range(mine), Matrix<const Real>(x).row_range(mine));
    return Factor(Matrix<const BFloat16>(rounded));
}

Factor Context::factor_in_place(View<Real> x, Range mine) const {
    if (precision == Precision::fp32) return Factor(Matrix<const Real>(x));
    const Matrix<BFloat16> rounded(reinterpret_cast<BFloat16*>(x.data), x.rows(), x.columns(),
                                   x.columns() * sizeof(Real) / sizeof(BFloat16));
    round_to_bfloat16(rounded.row_range(mine), Matrix<const Real>(x).row_range(mine));
    return Factor(Matrix<const BFloat16>(rounded));
}

Kept Context::allocate_kept(Shape shape) {
    if (precision == Precision::fp32) return {kept.allocate(shape), {}};
    return {{}, kept.allocate<BFloat16>(shape)};
}

View<Real> Context::open(const Kept& what) {
    return what.rounded.empty() ? what.full.rows(rows) : own.allocate({rows.size(), what.columns()});
}

void Context::close(const Kept& what, View<Real> values) const {
    if (what.rounded.empty()) return;
    round_to_bfloat16(what.rounded.row(rows.first), values.data, values.size());
    widen_bfloat16(values.data, what.rounded.row(rows.first), values.size());
}

View<const Real> Context::kept_rows(const Kept& what) {
    const View<Real> values = open(what);
    if (!what.rounded.empty()) widen_bfloat16(values.data, what.rounded.row(rows.first), values.size());
    return values;
}

void apply_dropout(View<Real> y, View<const Real> x, const DropoutSite& site, const Context& context) {
    context.for_each_run([&](std::size_t sequence, std::size_t position, Range rows) {
        dropout(y.row(rows.first), x.row(rows.first), site,
                context.batch.first_sequence + static_cast<std::uint32_t>(sequence),
                static_cast<std::uint32_t>(position), rows.size(), y.columns());
    });
}

}  // namespace ulmpi
