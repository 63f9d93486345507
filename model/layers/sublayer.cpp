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
      dropout_(config.residual_dropout),
      place_(place),
      inner_(std::move(inner)) {
    if ((pre_ + post_).find('n') != std::string::npos)
        norm_ = std::make_unique<Norm>(store, norm_name, config.hidden, config, group, first_slice);
}

View<Real> Sublayer::forward(View<Real> x, Context& context) const {
    const Range mine = context.rows;
    const std::size_t width = x.columns();
    View<Real> y = context.kept.allocate(x.shape);
    if (normalises_before()) {
        const View<Real> statistics = norm_->allocate_statistics(context);
        const ArenaScope scope(context.own);
        const View<Real> h = context.own.allocate({mine.size(), width});
        norm_->forward(h, statistics, x, mine);
        inner_->forward(y, h, context);
        context.keep(statistics);
    } else {
        inner_->forward(y, x.rows(mine), context);
    }
    context.keep(x);
    for (char operation : post_) {
        if (operation == 'd') {
            const DropoutSite site = context.site(place_, dropout_);
            if (site.probability > 0) apply_dropout(y, y, site, context);
        } else if (operation == 'a') {
            add(y.row(mine.first), x.row(mine.first), mine.size() * width);
        } else {
            const View<Real> statistics = norm_->allocate_statistics(context);
            const View<Real> normed = context.kept.allocate(x.shape);
            norm_->forward(normed.rows(mine), statistics, y, mine);
            context.keep(statistics);
            context.keep(y);
            y = normed;
        }
    }
    return y;
}

// The operations backwards. Where x was added, the gradient itself is also the residual's: it stays in `gradient`, and
// what goes on towards f moves to a buffer of its own.
void Sublayer::backward(View<Real> gradient, Context& context) const {
    const Range mine = context.rows;
    const ArenaScope scope(context.shared);
    View<Real> inwards = gradient;
    bool residual = false;
    const auto leave_residual = [&] {
        if (residual && inwards.data == gradient.data) inwards = context.shared.allocate(gradient.shape);
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
            const View<Real> input = context.recall(), statistics = context.recall();
            leave_residual();
            norm_->backward(inwards, from, statistics, input, false, context);
        }
    }

    const View<Real> x = context.recall();
    const View<Real> dh = context.shared.allocate(gradient.shape);
    if (normalises_before()) {
        const View<Real> statistics = context.recall();
        const View<Real> h = context.shared.allocate(gradient.shape);
        norm_->apply(h.rows(mine), statistics, x, mine);
        inner_->backward(dh, inwards, h, context);
        norm_->backward(gradient, dh, statistics, x, residual, context);
    } else {
        inner_->backward(dh, inwards, x, context);
        const std::size_t count = mine.size() * gradient.columns();
        if (residual)
            add(gradient.row(mine.first), dh.row(mine.first), count);
        else
            std::copy_n(dh.row(mine.first), count, gradient.row(mine.first));
    }
    context.team.barrier();  // before the next layer takes the temporaries
}

}  // namespace ulmpi
