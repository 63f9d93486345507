#include "model/context.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace ulmpi {

const Context::Beginning& Context::beginning(const void* module) const {
    const auto found = std::ranges::find(beginnings, module, &Beginning::module);
    check(found != beginnings.end(), "backward of a module that has not gone forward");
    return *found;
}

Rooms Context::again(const void* module) const {
    Rooms rooms_then = *this;
    rooms_then.kept.release(beginning(module).kept);
    rooms_then.shared = rooms_then.own = {};
    return rooms_then;
}

Factor Context::own_factor(Matrix<const Real> x, View<BFloat16> room) const {
    if (precision == Precision::fp32) return Factor(x);
    round_to_bfloat16(Matrix<BFloat16>(room), x);
    return Factor(Matrix<const BFloat16>(room));
}

Factor Context::shared_factor(View<const Real> x, View<BFloat16> room, Range mine) const {
    if (precision == Precision::fp32) return Factor(Matrix<const Real>(x));
    round_to_bfloat16(Matrix<BFloat16>(room).row_range(mine), Matrix<const Real>(x).row_range(mine));
    return Factor(Matrix<const BFloat16>(room));
}

Factor Context::shared_factor(View<const Real> x, const FactorRoom& room, Range mine) const {
    if (room.copy.empty()) return shared_factor(x, room.rounded, mine);
    std::copy_n(x.row(mine.first), mine.size() * x.columns(), room.copy.row(mine.first));
    return Factor(Matrix<const Real>(room.copy));
}

Factor Context::factor_in_place(View<Real> x, Range mine) const {
    if (precision == Precision::fp32) return Factor(Matrix<const Real>(x));
    const Matrix<BFloat16> rounded(reinterpret_cast<BFloat16*>(x.data), x.rows(), x.columns(),
                                   x.columns() * sizeof(Real) / sizeof(BFloat16));
    round_to_bfloat16(rounded.row_range(mine), Matrix<const Real>(x).row_range(mine));
    return Factor(Matrix<const BFloat16>(rounded));
}

void Context::close(const Kept& what, View<Real> values) const {
    if (what.rounded.empty()) return;
    round_to_bfloat16(what.rounded.row(rows.first), values.data, values.size());
    widen_bfloat16(values.data, what.rounded.row(rows.first), values.size());
}

View<const Real> Context::kept_rows(const Kept& what, View<Real> room) const {
    if (!what.rounded.empty()) widen_bfloat16(room.data, what.rounded.row(rows.first), room.size());
    return room;
}

void apply_dropout(View<Real> y, View<const Real> x, const DropoutSite& site, const Context& context) {
    context.for_each_run([&](std::size_t sequence, std::size_t position, Range rows) {
        dropout(y.row(rows.first), x.row(rows.first), site,
                context.batch.first_sequence + static_cast<std::uint32_t>(sequence),
                static_cast<std::uint32_t>(position), rows.size(), y.columns());
    });
}

}  // namespace ulmpi
