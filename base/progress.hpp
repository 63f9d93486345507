#pragma once
// What people see while they wait: one line on standard error.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace ulmpi {

/// "0.4 s", "12 s", "3 min 05 s", "1 h 02 min", "3 d 04 h". Rounded to the last unit shown.
std::string format_duration(double seconds);
/// "7", "950", "3.2 k", "12 k", "1.5 M", "2.0 G": two digits at least, decimal steps.
std::string format_count(double count);
/// format_count with a unit: "3.2 k tokens/s".
std::string format_rate(double per_second, std::string_view unit);
/// "12 B", "3.4 kB", "1.2 GB": powers of 1000.
std::string format_bytes(std::uint64_t bytes);

/// How far a piece of work is. `total` 0: not known.
struct WorkState {
    std::string_view title, unit;  // "stage 1", "tokens"
    std::uint64_t start = 0;       // where this process began; a resumed run does not start at 0
    std::uint64_t done = 0, total = 0;
    double elapsed = 0;          // seconds since the start
    std::string_view note = {};  // "loss 4.31"
};

/// "stage 1 [######......]  52 %  3.2 k tokens/s  loss 4.31  1 min 03 s left", without the bar if bar_width is 0.
std::string progress_line(const WorkState& state, std::size_t bar_width);

/// Shows how far a piece of work is: a bar rewritten in place on a terminal, elsewhere a plain line at most every
/// `interval` seconds. Says nothing in the first 2 seconds, so short work stays silent.
class ProgressLine {
public:
    /// `speaks`: whether this rank does (rank 0). `start`: units already done before this process.
    ProgressLine(std::string title, std::string unit, std::uint64_t total, bool speaks, std::uint64_t start = 0,
                 double interval = 10, std::FILE* out = stderr);
    ProgressLine(const ProgressLine&) = delete;
    ProgressLine& operator=(const ProgressLine&) = delete;
    ~ProgressLine() { clear(); }

    /// `done` units of the total are done. Cheap: writes at most ten times a second.
    void update(std::uint64_t done, std::string_view note = {});
    /// Takes the bar off the terminal, before something else is printed; the next update brings it back.
    void clear();

private:
    using Clock = std::chrono::steady_clock;
    std::string title_, unit_;
    std::uint64_t total_, start_;
    bool speaks_, terminal_, shown_ = false;
    double interval_;
    std::FILE* out_;
    Clock::time_point began_ = Clock::now(), last_ = began_;
};

}  // namespace ulmpi
