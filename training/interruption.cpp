#include "training/interruption.hpp"

#include <span>

namespace ulmpi {

bool Interruption::agreed(double needed) {
    if (reason_ != 0) return true;
    const std::optional<double> left = all_.rank() == 0 ? seconds_left() : std::nullopt;
    reason_ = left && *left < needed ? out_of_time : signals_.received();
    all_.all_reduce_max(std::span<int>(&reason_, 1));
    return reason_ != 0;
}

std::string Interruption::reason() const { return time_is_over() ? "the end of the job's time" : signal_name(reason_); }

bool Interruption::time_is_short() const {
    const std::optional<double> left = seconds_left();
    const std::chrono::duration<double> passed = std::chrono::system_clock::now() - signals_.since();
    return time_is_over() || (left && passed.count() > *left);
}

std::optional<double> Interruption::seconds_left() const {
    if (!end_) return std::nullopt;
    return std::chrono::duration<double>(*end_ - std::chrono::system_clock::now()).count();
}

}  // namespace ulmpi
