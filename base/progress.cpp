#include "base/progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace ulmpi {
namespace {

constexpr double silent_seconds = 2, redraw_seconds = 0.1;

/// 950, 1.5 k, 12 k, 2.0 M: two digits at least, but no decimals for a whole number under 1000.
std::string scaled(double value) {
    constexpr std::array<std::string_view, 5> prefixes{"", "k", "M", "G", "T"};
    const bool whole = value == std::floor(value) && value < 1000;
    std::size_t step = 0;
    for (; value >= 999.5 && step + 1 < prefixes.size(); value /= 1000) ++step;
    return fmt::format("{:.{}f} {}", value, whole || value >= 9.95 ? 0 : 1, prefixes[step]);
}

std::string trimmed(std::string text) {
    while (!text.empty() && text.back() == ' ') text.pop_back();
    return text;
}

std::size_t terminal_columns(int descriptor) {
    winsize size{};
    return ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

}  // namespace

std::string format_duration(double seconds) {
    if (seconds < 9.95) return fmt::format("{:.1f} s", std::max(seconds, 0.0));
    const auto whole = static_cast<std::uint64_t>(std::llround(std::min(seconds, 1e15)));
    if (whole < 60) return fmt::format("{} s", whole);
    if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
    const std::uint64_t minutes = (whole + 30) / 60;
    if (minutes < 24 * 60) return fmt::format("{} h {:02} min", minutes / 60, minutes % 60);
    const std::uint64_t hours = (minutes + 30) / 60;
    return fmt::format("{} d {:02} h", hours / 24, hours % 24);
}

std::string format_count(double count) { return trimmed(scaled(count)); }

std::string format_rate(double per_second, std::string_view unit) {
    return fmt::format("{} {}/s", format_count(per_second), unit);
}

std::string format_bytes(std::uint64_t bytes) { return scaled(static_cast<double>(bytes)) + "B"; }

std::string progress_line(const WorkState& state, std::size_t bar_width) {
    std::string line(state.title);
    const double fraction =
        state.total == 0 ? 0 : std::min(1.0, static_cast<double>(state.done) / static_cast<double>(state.total));
    if (state.total != 0) {
        const auto filled = static_cast<std::size_t>(fraction * static_cast<double>(bar_width));
        if (bar_width != 0) line += fmt::format(" [{:#<{}}{:.<{}}]", "", filled, "", bar_width - filled);
        line += fmt::format(" {:3.0f} %", std::floor(fraction * 100));
    } else {
        line += fmt::format("  {} {}", format_count(static_cast<double>(state.done)), state.unit);
    }
    const double moved = static_cast<double>(state.done - std::min(state.start, state.done));
    const double rate = state.elapsed > 0 ? moved / state.elapsed : 0;
    if (rate > 0) line += fmt::format("  {}", format_rate(rate, state.unit));
    if (!state.note.empty()) line += fmt::format("  {}", state.note);
    if (state.total == 0 || state.done >= state.total) {
        line += fmt::format("  {}", format_duration(state.elapsed));
    } else if (rate > 0) {
        line += fmt::format("  {} left", format_duration(static_cast<double>(state.total - state.done) / rate));
    }
    return line;
}

ProgressLine::ProgressLine(std::string title, std::string unit, std::uint64_t total, bool speaks, std::uint64_t start,
                           double interval, std::FILE* out)
    : title_(std::move(title)),
      unit_(std::move(unit)),
      total_(total),
      start_(start),
      speaks_(speaks),
      terminal_(isatty(fileno(out)) != 0),
      interval_(interval),
      out_(out) {}

void ProgressLine::update(std::uint64_t done, std::string_view note) {
    if (!speaks_) return;
    const Clock::time_point now = Clock::now();
    const double elapsed = std::chrono::duration<double>(now - began_).count();
    const double since_last = std::chrono::duration<double>(now - last_).count();
    if (elapsed < silent_seconds) return;
    const bool whole = total_ != 0 && done >= total_;
    if (since_last < (terminal_ ? redraw_seconds : interval_) && !whole) return;
    last_ = now;

    const WorkState state{title_, unit_, start_, done, total_, elapsed, note};
    if (terminal_) {
        // back to the first column, the line cut to the screen, and what an older line left over erased
        const std::string line = progress_line(state, 20).substr(0, terminal_columns(fileno(out_)) - 1);
        std::fprintf(out_, "\r%s\033[K", line.c_str());
        shown_ = true;
    } else {
        std::fprintf(out_, "%s\n", progress_line(state, 0).c_str());
    }
    std::fflush(out_);
}

void ProgressLine::clear() {
    if (!std::exchange(shown_, false)) return;
    std::fputs("\r\033[K", out_);
    std::fflush(out_);
}

}  // namespace ulmpi
