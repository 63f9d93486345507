#include "model/layers/feed_forward.hpp"

#include "model/kernels/activation.hpp"

namespace ulmpi {
namespace {

Range slice_of(const ModelConfig& config, int slice, int slices) {
    return even_slice(config.ffn_size(), static_cast<std::size_t>(slices), static_cast<std::size_t>(slice));
}

// A layer into the width (axis 0 sliced) or out of it (axis 1 sliced).
LinearOptions options(const ModelConfig& config, const std::string& name, int axis, int group, int slice, int slices) {
    LinearOptions o{.name = name,
                    .out = axis == 0 ? config.ffn_size() : config.hidden,
                    .in = axis == 0 ? config.hidden : config.ffn_size(),
                    .slicing = {},
                    .bias = config.linear_bias,
                    .group = group,
                    .first_slice = slice == 0};
    if (axis == 1) o.deviation = residual_deviation(config);
    if (slices > 1) o.slicing = {axis, {slice_of(config, slice, slices)}};
    return o;
}

}  // namespace

FeedForward::FeedForward(ParameterStore& store, const ModelConfig& config, const std::string& name, int group,
                         int slice, int slices)
    : activation_(config.activation),
      width_(slice_of(config, slice, slices).size()),
      up_(store, options(config, name + ".up", 0, group, slice, slices)),
      gate_(config.activation == Activation::swiglu
                ? std::make_unique<Linear>(store, options(config, name + ".gate", 0, group, slice, slices))
                : nullptr),
      down_(store, options(config, name + ".down", 1, group, slice, slices)) {}

void FeedForward::activate(Real* a, const Real* u, const Real* g, std::size_t n) const {
    switch (activation_) {
        case Activation::gelu:
            return gelu_forward(a, u, n);
        case Activation::relu:
            return relu_forward(a, u, n);
        case Activation::swiglu:
            return swiglu_forward(a, g, u, n);
    }
}

// u = x W_up^T + b,  g = x W_gate^T + b,  a = act(u) or silu(g) u,  y = sum over slices of a W_down^T + b
void FeedForward::forward(View<Real> y, View<const Real> x, Context& context) const {
    const Range mine = context.rows;
    const Shape all{context.batch.rows(), width_};
    const Kept u = context.allocate_kept(all), g = gated() ? context.allocate_kept(all) : Kept{};
    {
        const ArenaScope scope(context.own);
        const View<Real> u_mine = context.open(u), g_mine = gated() ? context.open(g) : View<Real>{};
        {
            const ArenaScope inwards(context.own);
            const Factor x_factor = context.own_factor(x);
            up_.forward(u_mine, x_factor);
            if (gated()) gate_->forward(g_mine, x_factor);
        }
        context.close(u, u_mine);
        if (gated()) context.close(g, g_mine);
        const View<Real> a = context.own.allocate(u_mine.shape);
        activate(a.data, u_mine.data, g_mine.data, a.size());
        down_.forward(y.rows(mine), context.own_factor(a));
    }
    context.sum_over_slices(y);
    down_.add_bias_to(y.rows(mine));
    context.keep(u);
    if (gated()) context.keep(g);
}

void FeedForward::backward(View<Real> dx, View<const Real> dy, View<const Real> x, Context& context) const {
    const Range mine = context.rows;
    const ArenaScope scope(context.shared), own_scope(context.own);
    const View<const Real> g_mine = gated() ? context.kept_rows(context.recall_kept()) : View<const Real>{};
    const View<const Real> u_mine = context.kept_rows(context.recall_kept());
    const Shape all{context.batch.rows(), width_};
    const View<Real> a = context.shared.allocate(all), du = context.shared.allocate(all);
    const View<Real> dg = gated() ? context.shared.allocate(all) : View<Real>{};
    const std::size_t n = u_mine.size();
    Real* du_mine = du.row(mine.first);
    activate(a.row(mine.first), u_mine.data, g_mine.data, n);
    const Factor a_factor = context.shared_factor(a), dy_factor = context.shared_factor(dy);
    down_.backward_input(du.rows(mine), dy_factor.row_range(mine));  // da, turned into du in place
    switch (activation_) {
        case Activation::gelu:
            gelu_backward(du_mine, du_mine, u_mine.data, n);
            break;
        case Activation::relu:
            relu_backward(du_mine, du_mine, u_mine.data, n);
            break;
        case Activation::swiglu:
            swiglu_backward(dg.row(mine.first), du_mine, du_mine, g_mine.data, u_mine.data, n);
            break;
    }
    const Factor du_factor = context.shared_factor(du), dg_factor = gated() ? context.shared_factor(dg) : du_factor;
    const Factor x_factor = context.shared_factor(x);
    up_.backward_input(dx.rows(mine), du_factor.row_range(mine));
    if (gated()) gate_->backward_input(dx.rows(mine), dg_factor.row_range(mine), true);
    context.team.barrier();
    down_.backward_weights(dy, dy_factor, a_factor, context);
    up_.backward_weights(du, du_factor, x_factor, context);
    if (gated()) gate_->backward_weights(dg, dg_factor, x_factor, context);
    context.team.barrier();
    context.sum_over_slices(dx);
}

}  // namespace ulmpi
