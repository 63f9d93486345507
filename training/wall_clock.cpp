#include "training/wall_clock.hpp"

#include <fmt/format.h>

#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "base/error.hpp"
#include "base/subprocess.hpp"

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

// [days-][[hours:]minutes:]seconds, all but the first of two digits
std::optional<double> seconds_from_slurm(std::string_view text) {
    const auto number = [](std::string_view digits) -> std::optional<double> {
        unsigned value = 0;
        const auto [rest, status] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (status != std::errc() || rest != digits.data() + digits.size()) return std::nullopt;
        return value;
    };
    double days = 0, seconds = 0;
    if (const std::size_t dash = text.find('-'); dash != std::string_view::npos) {
        const auto value = number(text.substr(0, dash));
        if (!value) return std::nullopt;
        days = *value;
        text.remove_prefix(dash + 1);
    }
    for (int part = 0; part < 3; ++part) {
        const std::size_t colon = text.find(':');
        const auto value = number(text.substr(0, colon));
        if (!value) return std::nullopt;
        seconds = 60 * seconds + *value;
        if (colon == std::string_view::npos) return 86400 * days + seconds;
        text.remove_prefix(colon + 1);
    }
    return std::nullopt;
}

std::optional<std::chrono::system_clock::time_point> job_end(const std::string& walltime,
                                                             std::chrono::system_clock::time_point now,
                                                             const std::function<std::optional<double>()>& slurm_left) {
    if (walltime == "none") return std::nullopt;
    const bool automatic = walltime == "auto";
    const std::optional<double> seconds = automatic ? slurm_left() : seconds_from(walltime);
    check_usage(automatic || (seconds && *seconds < 1e9),
                "--walltime {} is neither auto nor none nor a time (90s, 30m, 2h, 1d)", walltime);
    if (!seconds) return std::nullopt;
    return now +
           std::chrono::duration_cast<std::chrono::system_clock::duration>(std::chrono::duration<double>(*seconds));
}

std::optional<double> slurm_seconds_left() {
    const auto variable = [](const char* name) {
        const char* value = std::getenv(name);
        return std::string(value == nullptr ? "" : value);
    };
    // One task of an array has the id of the whole array, too, and squeue would tell of all its tasks.
    const std::string array = variable("SLURM_ARRAY_JOB_ID"), task = variable("SLURM_ARRAY_TASK_ID");
    const std::string job = array.empty() || task.empty() ? variable("SLURM_JOB_ID") : array + "_" + task;
    if (job.empty() || job.find_first_not_of("0123456789_") != std::string::npos) return std::nullopt;
    std::string text = run_program({"squeue", "--noheader", "--format=%L", "--job=" + job}).output;
    while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
    while (!text.empty() && text.front() == ' ') text.erase(0, 1);
    const std::optional<double> seconds = seconds_from_slurm(text);
    if (!seconds && text != "UNLIMITED")
        fmt::print(
            stderr,
            "note: squeue does not say how much time job {} has left, so the run does not stop before the end of "
            "it; --walltime 4h would say it\n",
            job);
    return seconds;
}

}  // namespace ulmpi
