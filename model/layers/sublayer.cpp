#include "model/layers/sublayer.hpp"

#include <algorithm>

#include "model/kernels/elementwise.hpp"

namespace ulmpi {
namespace {

std::string letters(const std::string& wiring) { return wiring == "none" ? "" : wiring; }

}  // namespace

Sublayer::Sublayer(ParameterStore& store, const ModelConfig& config, const std::string& norm_name, int group,
                   bool first_slice, std::uint32_t place, std::unique_ptr<Layer> inner)
    : pre_(letters(config.preprocess)),
      post_(letters(config.postprocess)),
      width_(config.hidden),
      dropout_(config.residual_dropout),
      place_(place),
      inner_(std::move(inner)) {
    if ((pre_ + post_).find('n') != std::string::npos)
        norm_ = std::make_unique<Norm>(store, norm_name, config.hidden, config, group, first_slice);
}

Sublayer::SublayerKept Sublayer::keep(Rooms& rooms) const {
    const Shape all{rooms.all_rows(), width_};
    SublayerKept kept{.y = rooms.kept.allocate(all), .before = {}, .after = {}, .normed = {}};
    if (normalises_before()) kept.before = Norm::statistics(rooms.kept, rooms.all_rows());
    if (normalises_after()) {
        kept.after = Norm::statistics(rooms.kept, rooms.all_rows());
        kept.normed = rooms.kept.allocate(all);
    }
    return kept;
}

// Backwards, what stands before 'a' comes behind it: what 'd' and 'n' change there is not the residual's gradient.
bool Sublayer::splits_gradient_at_residual() const {
    const std::string inner = post_.substr(0, std::min(post_.find('a'), post_.size()));
    const bool residual = post_.find('a') != std::string::npos;
    return residual && (inner.find('n') != std::string::npos || (inner.find('d') != std::string::npos && dropout_ > 0));
}

Sublayer::Work Sublayer::work(Rooms& rooms) const {
    const Shape all{rooms.all_rows(), width_};
    return {splits_gradient_at_residual() ? rooms.shared.allocate(all) : View<Real>{}, rooms.shared.allocate(all),
            normalises_before() ? rooms.shared.allocate(all) : View<Real>{}};
}

void Sublayer::plan_forward(Rooms& rooms) const {
    keep(rooms);
    const ArenaScope scope(rooms.own);
    if (normalises_before()) own_rows(rooms);
    inner_->plan_forward(rooms);
}

void Sublayer::plan_backward(Rooms& rooms) const {
    const ArenaScope scope(rooms.shared);
    work(rooms);
    inner_->plan_backward(rooms);
    if (norm_) norm_->plan_backward(rooms);
}

void Sublayer::forward(Flow& flow, Context& context) const {
    const View<Real> x = flow[Lane::hidden];
    context.begin(this, x);
    const SublayerKept kept = keep(context);
    const Range mine = context.rows;
    if (normalises_before()) {
        const ArenaScope scope(context.own);
        const View<Real> h = own_rows(context);
        norm_->forward(h, kept.before, x, mine);
        inner_->forward(kept.y, h, flow, context);
    } else {
        inner_->forward(kept.y, x.rows(mine), flow, context);
    }
    View<Real> y = kept.y;
    for (char operation : post_) {
        if (operation == 'd') {
            const DropoutSite site = context.site(place_, dropout_);
            if (site.probability > 0) apply_dropout(y, y, site, context);
        } else if (operation == 'a') {
            add(y.row(mine.first), x.row(mine.first), mine.size() * width_);
        } else {
            norm_->forward(kept.normed.rows(mine), kept.after, y, mine);
            y = kept.normed;
        }
    }
    flow[Lane::hidden] = y;
}

// The operations backwards. Where x was added, the gradient itself is also the residual's: it stays in `gradient`, and
// what goes on towards f moves to a buffer of its own.
void Sublayer::backward(Flow& gradients, Context& context) const {
    const Range mine = context.rows;
    const View<Real> gradient = gradients[Lane::hidden];
    const View<Real> x = context.beginning(this).input;
    Rooms rooms_then = context.again(this);
    const SublayerKept kept = keep(rooms_then);
    const ArenaScope scope(context.shared);
    const Work room = work(context);
    View<Real> inwards = gradient;
    bool residual = false;
    const auto leave_residual = [&] {
        if (residual) inwards = room.inwards;
    };
    for (auto operation = post_.rbegin(); operation != post_.rend(); ++operation) {
        const View<const Real> from = inwards;
        if (*operation == 'd') {
            const DropoutSite site = context.site(place_, dropout_);
            if (site.probability == 0) continue;
            leave_residual();
            apply_dropout(inwards, from, site, context);
        } else if (*operation == 'a') {
            residual = true;
        } else {
            leave_residual();
            norm_->backward(inwards, from, kept.after, kept.y, false, context);
        }
    }

    if (normalises_before()) {
        norm_->apply(room.h.rows(mine), kept.before, x, mine);
        inner_->backward(room.dh, inwards, room.h, gradients, context);
        norm_->backward(gradient, room.dh, kept.before, x, residual, context);
    } else {
        inner_->backward(room.dh, inwards, x, gradients, context);
        const std::size_t count = mine.size() * width_;
        if (residual)
            add(gradient.row(mine.first), room.dh.row(mine.first), count);
        else
            std::copy_n(room.dh.row(mine.first), count, gradient.row(mine.first));
    }
    context.team.barrier();  // before the next layer takes the temporaries
}

}  // namespace ulmpi
