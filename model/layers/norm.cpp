#include "model/layers/norm.hpp"

#include <algorithm>

#include "model/kernels/elementwise.hpp"
#include "model/kernels/norm.hpp"

namespace ulmpi {

Norm::Norm(ParameterStore& store, const std::string& name, std::size_t width, const ModelConfig& config, int group,
           bool first_slice)
    : store_(store),
      width_(width),
      kind_(config.normalization),
      eps_(static_cast<Real>(config.norm_eps)),
      group_(group),
      weight_(store.declare({.name = name + ".weight",
                             .global = {width},
                             .local = {},
                             .slicing = {},
                             .init = Init::one(),
                             .group = group,
                             .counted = first_slice})) {
    if (kind_ == Normalization::layernorm)
        bias_ = store.declare({.name = name + ".bias",
                               .global = {width},
                               .local = {},
                               .slicing = {},
                               .init = {},
                               .group = group,
                               .counted = first_slice});
}

void Norm::plan_backward(Rooms& rooms) const {
    const ArenaScope scope(rooms.shared);
    partials(rooms);
}

// y = (x - mean) rstd weight + bias, or x rstd weight
void Norm::forward(View<Real> y, View<Real> statistics, View<const Real> x, Range rows) const {
    const Real* weight = store_.value(weight_).data;
    Real* mean = statistics.row(0) + rows.first;
    Real* rstd = statistics.row(1) + rows.first;
    if (kind_ == Normalization::layernorm)
        layer_norm_forward(y.data, mean, rstd, x.row(rows.first), weight, store_.value(bias_).data, rows.size(), width_,
                           eps_);
    else
        rms_norm_forward(y.data, rstd, x.row(rows.first), weight, rows.size(), width_, eps_);
}

void Norm::apply(View<Real> y, View<const Real> statistics, View<const Real> x, Range rows) const {
    const Real* weight = store_.value(weight_).data;
    const Real* mean = statistics.row(0) + rows.first;
    const Real* rstd = statistics.row(1) + rows.first;
    if (kind_ == Normalization::layernorm)
        layer_norm_apply(y.data, x.row(rows.first), mean, rstd, weight, store_.value(bias_).data, rows.size(), width_);
    else
        rms_norm_apply(y.data, x.row(rows.first), rstd, weight, rows.size(), width_);
}

// Each worker sums its own rows into a partial gradient; behind a barrier each adds all partials of its columns.
void Norm::backward(View<Real> dx, View<const Real> dy, View<const Real> statistics, View<const Real> x, bool add_to_dx,
                    Context& context) const {
    const Range rows = context.rows;
    const bool layer_norm = kind_ == Normalization::layernorm;
    const auto backward_rows = [&](Real* dweight, Real* dbias) {
        const Real* weight = store_.value(weight_).data;
        const Real* mean = statistics.row(0) + rows.first;
        const Real* rstd = statistics.row(1) + rows.first;
        if (layer_norm)
            layer_norm_backward(dx.row(rows.first), dweight, dbias, dy.row(rows.first), x.row(rows.first), mean, rstd,
                                weight, rows.size(), width_, add_to_dx);
        else
            rms_norm_backward(dx.row(rows.first), dweight, dy.row(rows.first), x.row(rows.first), rstd, weight,
                              rows.size(), width_, add_to_dx);
    };
    if (!context.trains(group_)) {
        backward_rows(nullptr, nullptr);
        return;
    }
    const ArenaScope scope(context.shared);
    const View<Real> all = partials(context);
    Real* partial = all.row(static_cast<std::size_t>(context.team.rank()));
    std::fill(partial, partial + 2 * width_, Real(0));
    backward_rows(partial, partial + width_);
    context.team.barrier();
    const Range columns = context.team.share(width_);
    for (std::size_t worker = 0; worker < context.workers; ++worker) {
        const Real* sums = all.row(worker);
        add(store_.gradient(weight_).data + columns.first, sums + columns.first, columns.size());
        if (layer_norm) add(store_.gradient(bias_).data + columns.first, sums + width_ + columns.first, columns.size());
    }
    context.team.barrier();
}

}  // namespace ulmpi
