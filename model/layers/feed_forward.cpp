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
      hidden_(config.hidden),
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

FeedForward::FeedForwardKept FeedForward::keep(Rooms& rooms) const {
    const Shape all{rooms.all_rows(), width_};
    return {rooms.keep(all), gated() ? rooms.keep(all) : Kept{}};
}

FeedForward::Opened FeedForward::open(Rooms& rooms, const FeedForwardKept& kept) const {
    return {rooms.open(kept.u), gated() ? rooms.open(kept.g) : View<Real>{}};
}

FeedForward::Outwards FeedForward::outwards(Rooms& rooms) const {
    const Shape mine{rooms.rows.size(), width_};
    return {rooms.own.allocate(mine), rooms.rounding(rooms.own, mine)};
}

FeedForward::Work FeedForward::work(Rooms& rooms) const {
    const Shape in{rooms.all_rows(), hidden_}, inside{rooms.all_rows(), width_};
    return {rooms.until_weights(inside),
            rooms.until_weights(inside),
            gated() ? rooms.until_weights(inside) : View<Real>{},
            rooms.weights_rounding(inside),
            rooms.weights_rounding(inside),
            gated() ? rooms.weights_rounding(inside) : View<BFloat16>{},
            rooms.weights_factor(in),
            rooms.weights_factor(in)};
}

void FeedForward::plan_forward(Rooms& rooms) const {
    const FeedForwardKept kept = keep(rooms);
    const ArenaScope scope(rooms.own);
    open(rooms, kept);
    {
        const ArenaScope of_input(rooms.own);
        inwards(rooms);
    }
    outwards(rooms);
}

void FeedForward::plan_backward(Rooms& rooms) const {
    const ArenaScope scope(rooms.shared), own_scope(rooms.own);
    Rooms rooms_then = rooms;
    open(rooms, keep(rooms_then));
    work(rooms);
}

// u = x W_up^T + b,  g = x W_gate^T + b,  a = act(u) or silu(g) u,  y = sum over slices of a W_down^T + b
void FeedForward::forward(View<Real> y, View<const Real> x, const Flow&, Context& context) const {
    context.begin(this);
    const FeedForwardKept kept = keep(context);
    const Range mine = context.rows;
    {
        const ArenaScope scope(context.own);
        const Opened room = open(context, kept);
        {
            const ArenaScope of_input(context.own);
            const Factor x_factor = context.own_factor(x, inwards(context));
            up_.forward(room.u, x_factor);
            if (gated()) gate_->forward(room.g, x_factor);
        }
        context.close(kept.u, room.u);
        if (gated()) context.close(kept.g, room.g);
        const Outwards out = outwards(context);
        activate(out.a.data, room.u.data, room.g.data, out.a.size());
        down_.forward(y.rows(mine), context.own_factor(out.a, out.rounded));
    }
    context.sum_over_slices(y);
    down_.add_bias_to(y.rows(mine));
}

void FeedForward::backward(View<Real> dx, View<const Real> dy, View<const Real> x, Flow&, Context& context) const {
    const Range mine = context.rows;
    Rooms rooms_then = context.again(this);
    const FeedForwardKept kept = keep(rooms_then);
    const ArenaScope scope(context.shared), own_scope(context.own);
    const Opened opened = open(context, kept);
    const View<const Real> u = context.kept_rows(kept.u, opened.u), g = context.kept_rows(kept.g, opened.g);
    const Work room = work(context);
    const std::size_t n = u.size();
    Real* du = room.du.row(mine.first);
    activate(room.a.row(mine.first), u.data, g.data, n);
    const Factor a_factor = context.shared_factor(room.a, room.rounded_a),
                 dy_factor = context.shared_factor(dy, room.dy);
    down_.backward_input(room.du.rows(mine), dy_factor.row_range(mine));  // da, turned into du in place
    switch (activation_) {
        case Activation::gelu:
            gelu_backward(du, du, u.data, n);
            break;
        case Activation::relu:
            relu_backward(du, du, u.data, n);
            break;
        case Activation::swiglu:
            swiglu_backward(room.dg.row(mine.first), du, du, g.data, u.data, n);
            break;
    }
    const Factor du_factor = context.shared_factor(room.du, room.rounded_du),
                 dg_factor = gated() ? context.shared_factor(room.dg, room.rounded_dg) : du_factor,
                 x_factor = context.shared_factor(x, room.x);
    up_.backward_input(dx.rows(mine), du_factor.row_range(mine));
    if (gated()) gate_->backward_input(dx.rows(mine), dg_factor.row_range(mine), true);
    context.team.barrier();
    down_.backward_weights(dy, dy_factor, a_factor, context);
    up_.backward_weights(room.du, du_factor, x_factor, context);
    if (gated()) gate_->backward_weights(room.dg, dg_factor, x_factor, context);
    context.team.barrier();
    context.sum_over_slices(dx);
}

}  // namespace ulmpi
