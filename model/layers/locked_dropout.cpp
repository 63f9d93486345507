#include "model/layers/locked_dropout.hpp"

#include <algorithm>

#include "model/kernels/elementwise.hpp"

namespace ulmpi {

void LockedDropout::plan_mask(Rooms& rooms) const {
    if (probability_ == 0) return;
    const ArenaScope scope(rooms.own);
    rooms.own.allocate({width_});
}

void LockedDropout::plan_forward(Rooms& rooms) const {
    if (probability_ > 0) keep(rooms);
    plan_mask(rooms);
}

void LockedDropout::apply(View<Real> y, View<const Real> x, Context& context) const {
    const ArenaScope scope(context.own);
    const View<Real> mask = context.own.allocate({width_});
    context.for_each_run([&](std::size_t sequence, std::size_t, Range rows) {
        context.mask_row(mask.data, context.site(place_, probability_),
                         context.batch.first_sequence + static_cast<std::uint32_t>(sequence), 0, width_);
        for (std::size_t row = rows.first; row < rows.last; ++row) {
            if (y.data != x.data) std::copy_n(x.row(row), width_, y.row(row));
            multiply(y.row(row), mask.data, width_);
        }
    });
}

void LockedDropout::forward(Flow& flow, Context& context) const {
    if (context.site(place_, probability_).probability == 0) return;
    const View<Real> x = flow[Lane::hidden];
    flow[Lane::hidden] = keep(context);
    apply(flow[Lane::hidden], x, context);
}

void LockedDropout::backward(Flow& gradient, Context& context) const {
    if (context.site(place_, probability_).probability == 0) return;
    apply(gradient[Lane::hidden], gradient[Lane::hidden], context);
}

}  // namespace ulmpi
