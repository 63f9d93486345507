#include "pretrain/optimizer.hpp"

#include <algorithm>
#include <cmath>

#include "model/kernels/adamw.hpp"

namespace ulmpi {
namespace {

// p = 0.9 p + 0.1 seen (momentum 0.1, as PyTorch's BatchNorm); nothing is left of what was seen.
void move_statistic(std::span<Real> p, std::span<Real> seen) {
    for (std::size_t i = 0; i < p.size(); ++i) {
        p[i] += Real(0.1) * (seen[i] - p[i]);
        seen[i] = 0;
    }
}

}  // namespace

Optimizer::Optimizer(const ParameterStore& store, const AdamwConfig& config, const Communicator* tensor)
    : config_(config), first_(store.size()), second_(store.size()) {
    if (config.muon) muon_.emplace(store, tensor);
}

void Optimizer::step(ParameterStore& store, const GroupRates& rates, double gradient_scale, const Team& team) {
    team.single([&] {
        updates_.resize(rates.rate.size());
        for (std::size_t group = 0; group < updates_.size(); ++group)
            if (static_cast<int>(group) >= rates.first_trained) ++updates_[group];
    });
    for (const Parameter& p : store.parameters()) {
        if (p.group < rates.first_trained) continue;
        if (p.statistic) {
            if (team.leader()) move_statistic(store.value_of(p), store.gradient_of(p));
            continue;
        }
        const auto group = static_cast<std::size_t>(p.group);
        if (muon_ && Muon::takes(p)) {
            muon_->step(store, p, first_, {rates.rate[group], config_.weight_decay, gradient_scale}, team);
            continue;
        }
        const auto updates = static_cast<double>(updates_[group]);
        const AdamwStep step{.lr = rates.rate[group],
                             .beta1 = config_.beta1,
                             .beta2 = config_.beta2,
                             .eps = config_.eps,
                             .weight_decay = p.decays() ? config_.weight_decay : 0,
                             .correction1 = 1 - std::pow(config_.beta1, updates),
                             .correction2 = 1 - std::pow(config_.beta2, updates),
                             .gradient_scale = gradient_scale};
        const Range mine = team.share(p.size());
        const std::size_t first = p.offset + mine.first;
        adamw_update(store.values().data() + first, store.gradients().data() + first, first_.data() + first,
                     second_.data() + first, mine.size(), step,
                     store.rounded().empty() ? nullptr : store.rounded().data() + first);
    }
    team.barrier();
}

}  // namespace ulmpi
