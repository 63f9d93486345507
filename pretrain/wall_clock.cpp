#include "pretrain/wall_clock.hpp"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "parallel/error.hpp"

namespace ulmpi {

std::optional<double> seconds_from(const std::string& text) {
    double number = 0;
    const char* end = text.data() + text.size();
    const auto [rest, status] = std::from_chars(text.data(), end, number);
    if (status != std::errc() || !std::isfinite(number) || number < 0) return std::nullopt;
    const std::string_view unit(rest, static_cast<std::size_t>(end - rest));
    if (unit == "s") return number;
    if (unit == "m") return number * 60;
    if (unit == "h") return number * 3600;
    if (unit == "d") return number * 86400;
    return std::nullopt;
}

std::optional<std::chrono::system_clock::time_point> job_end(const std::string& walltime, const char* slurm_end,
                                                             std::chrono::system_clock::time_point now) {
    using Clock = std::chrono::system_clock;
    if (walltime == "none") return std::nullopt;
    if (walltime == "auto") {
        if (slurm_end == nullptr) return std::nullopt;
        const std::string_view text(slurm_end);
        std::int64_t second = 0;
        const auto [rest, status] = std::from_chars(text.data(), text.data() + text.size(), second);
        // Slurm says 0 or the year 2106 for jobs without an end.
        constexpr std::int64_t never = 4294967294;
        if (status != std::errc() || rest != text.data() + text.size() || second <= 0 || second >= never)
            return std::nullopt;
        return Clock::from_time_t(static_cast<std::time_t>(second));
    }
    const std::optional<double> seconds = seconds_from(walltime);
    check_usage(seconds && *seconds < 1e9,
                "--walltime " + walltime + " is neither auto nor none nor a time (90s, 30m, 2h, 1d)");
    return now + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(*seconds));
}

}  // namespace ulmpi
