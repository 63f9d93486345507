#include "training/optimizer.hpp"

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
    : config_(config), first_(store.size()), second_(store.size()), average_(config.average > 0 ? store.size() : 0) {
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
    if (!average_.empty()) move_average(store, team);
}

// a_t = sum_s d^(t-s) w_s / sum_s d^(t-s)  =  a_(t-1) + (1 - d) / (1 - d^t) (w_t - a_(t-1)),   s = 1 ... t: a_1 = w_1
void Optimizer::move_average(ParameterStore& store, const Team& team) {
    const double d = config_.average;
    const auto updates = static_cast<double>(updates_.back());  // the head's, which takes part in all
    const auto share = static_cast<Real>((1 - d) / (1 - std::pow(d, updates)));
    const std::span<const Real> w = store.values();
    const Range mine = team.share(w.size());
    for (std::size_t i = mine.first; i < mine.last; ++i) average_[i] += share * (w[i] - average_[i]);
    team.barrier();
}

void Optimizer::exchange_average(ParameterStore& store) {
    if (average_.empty()) return;
    std::ranges::swap_ranges(store.values(), average_);
    store.round_values();
}

}  // namespace ulmpi
