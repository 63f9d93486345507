#include "model/layers/source_side.hpp"

namespace ulmpi {

void OfSources::plan_forward(Rooms& rooms) const {
    const OnSources sources(rooms);
    inner_->plan_forward(rooms);
}

void OfSources::plan_backward(Rooms& rooms) const {
    const OnSources sources(rooms);
    inner_->plan_backward(rooms);
}

void OfSources::forward(Flow& flow, Context& context) const {
    const OnSources sources(context);
    inner_->forward(flow, context);
}

void OfSources::backward(Flow& gradient, Context& context) const {
    const OnSources sources(context);
    inner_->backward(gradient, context);
}

EncoderEnd::EndKept EncoderEnd::keep(Rooms& rooms) const {
    if (!norm_) return {};
    return {rooms.kept.allocate({rooms.all_rows(), width_}), Norm::statistics(rooms.kept, rooms.all_rows())};
}

void EncoderEnd::plan_forward(Rooms& rooms) const { keep(rooms); }

void EncoderEnd::plan_backward(Rooms& rooms) const {
    const ArenaScope scope(rooms.shared);
    if (norm_) norm_->plan_backward(rooms);
}

// memory = norm(hidden),  hidden = target
void EncoderEnd::forward(Flow& flow, Context& context) const {
    const View<Real> x = flow[Lane::hidden];
    context.begin(this, x);
    const EndKept kept = keep(context);
    if (norm_) norm_->forward(kept.memory.rows(context.rows), kept.statistics, x, context.rows);
    flow[Lane::memory] = norm_ ? kept.memory : x;
    flow[Lane::hidden] = flow[Lane::target];
    flow[Lane::target] = {};
}

void EncoderEnd::backward(Flow& gradient, Context& context) const {
    gradient[Lane::target] = gradient[Lane::hidden];
    gradient[Lane::hidden] = gradient[Lane::memory];
    gradient[Lane::memory] = {};
    if (!norm_) return;
    Rooms rooms_then = context.again(this);
    const EndKept kept = keep(rooms_then);
    const ArenaScope scope(context.shared);
    const View<Real> dx = gradient[Lane::hidden];
    norm_->backward(dx, dx, kept.statistics, context.beginning(this).input, false, context);
    context.team.barrier();
}

}  // namespace ulmpi
