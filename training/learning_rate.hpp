#pragma once
// Learning rate as a pure function of the step.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string>

#include "base/error.hpp"

namespace ulmpi {

enum class RateSchedule { cosine, linear, constant, inverse_sqrt, warmup_stable_decay, slanted_triangular };

inline RateSchedule rate_schedule_from(const std::string& name) {
    if (name == "cosine") return RateSchedule::cosine;
    if (name == "linear") return RateSchedule::linear;
    if (name == "constant") return RateSchedule::constant;
    if (name == "inv-sqrt") return RateSchedule::inverse_sqrt;
    if (name == "wsd") return RateSchedule::warmup_stable_decay;
    if (name == "stlr") return RateSchedule::slanted_triangular;
    throw UsageError("--lr-schedule " + name + " is unknown: choose cosine, linear, constant, inv-sqrt, wsd or stlr");
}

/// Slanted triangular learning rate (Howard & Ruder 2018, eq. 3): a short rise, then a long fall. step in [0, steps];
/// peak / ratio at both ends, peak at steps * cut_fraction.
inline double slanted_triangular(double step, double steps, double peak, double cut_fraction = 0.1, double ratio = 32) {
    const double cut = steps * cut_fraction;
    const double p = step < cut ? step / cut : (steps > cut ? 1 - (step - cut) / (steps - cut) : 1);
    return peak * (1 + p * (ratio - 1)) / ratio;
}

/// Discriminative fine-tuning (section 3.2): group `last` (the head) learns at the full rate, each one below `factor`
/// times slower.
inline double group_rate(double rate, int group, int last, double factor) {
    return rate / std::pow(factor, last - group);
}

struct RateConfig {
    RateSchedule schedule = RateSchedule::cosine;
    double peak = 1e-3, least = 0;
    std::uint64_t steps = 1000, warm_up = 0;
    double decay_fraction = 0.2;            ///< wsd: the share of the steps in which the rate falls
    double cut_fraction = 0.1, ratio = 32;  ///< stlr
};

/// The rate of update `step`, counted from 0: warm-up rises linearly to the peak, reached at step = warm_up - 1; then
///   cosine    least + (peak - least) (1 + cos(pi p)) / 2        p: progress from the warm-up's end to the last step
///   linear    peak + (least - peak) p
///   constant  peak
///   inv-sqrt  peak sqrt(w / (step + 1)), w = max(warm_up, 1)    (Vaswani et al. 2017)
///   wsd       peak, then linearly to least over the last decay_fraction of all steps   (Hu et al. 2024)
///   stlr      the slanted triangle over all steps; warm_up is not used
inline double learning_rate(const RateConfig& c, std::uint64_t step) {
    const auto s = static_cast<double>(step), steps = static_cast<double>(c.steps),
               warm_up = static_cast<double>(c.warm_up);
    if (c.schedule == RateSchedule::slanted_triangular)
        return slanted_triangular(s, steps, c.peak, c.cut_fraction, c.ratio);
    if (step < c.warm_up) return c.peak * (s + 1) / warm_up;
    const double progress = std::min(1.0, (s - warm_up) / std::max(1.0, steps - 1 - warm_up));
    switch (c.schedule) {
        case RateSchedule::cosine:
            return c.least + (c.peak - c.least) * (1 + std::cos(std::numbers::pi * progress)) / 2;
        case RateSchedule::linear:
            return c.peak + (c.least - c.peak) * progress;
        case RateSchedule::inverse_sqrt:
            return c.peak * std::sqrt(std::max(warm_up, 1.0) / (s + 1));
        case RateSchedule::warmup_stable_decay: {
            const double decay = std::max(1.0, c.decay_fraction * steps), begin = steps - decay;
            return s < begin ? c.peak : c.peak + (c.least - c.peak) * std::min(1.0, (s - begin + 1) / decay);
        }
        case RateSchedule::constant:
        case RateSchedule::slanted_triangular:
            break;
    }
    return c.peak;
}

}  // namespace ulmpi
