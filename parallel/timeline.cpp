#include "parallel/timeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/progress.hpp"
#include "parallel/communicator.hpp"

namespace ulmpi {

void Timeline::trace(std::size_t most) {
    most_entries_ = most;
    entries_.reserve(std::min(most, std::size_t{1} << 16));
}

void Timeline::restart() {
    totals_ = {};
    entries_.clear();
    cut_ = false;
    early_bytes_ = summed_bytes_ = 0;
    start_ = charged_ = Clock::now();
    for (Open& open : open_) open.begin = start_;
}

void Timeline::charge(Clock::time_point now) {
    total(charged_phase()).seconds += std::chrono::duration<double>(now - charged_).count();
    charged_ = now;
}

void Timeline::enter(Phase phase, std::uint64_t bytes) {
    const Clock::time_point now = Clock::now();
    charge(now);
    const Phase outer = charged_phase();
    const bool whole = outer == Phase::evaluate || outer == Phase::save;
    open_.push_back({phase, whole ? outer : phase, now, bytes});
}

void Timeline::leave() {
    const Clock::time_point now = Clock::now();
    charge(now);
    const Open done = open_.back();
    open_.pop_back();
    ++total(done.phase).entered;
    total(done.counts_for).bytes += done.bytes;
    if (entries_.size() < most_entries_)
        entries_.push_back({done.phase, done.begin, now, done.bytes});
    else
        cut_ = most_entries_ > 0;
}

Timeline::Totals Timeline::totals() const {
    Totals totals = totals_;
    totals[static_cast<std::size_t>(charged_phase())].seconds +=
        std::chrono::duration<double>(Clock::now() - charged_).count();
    return totals;
}

std::vector<PhaseSummary> summarize(const Timeline& timeline, const Communicator& ranks) {
    const Timeline::Totals totals = timeline.totals();
    std::array<double, phase_count> mean{}, least{}, most{};
    std::array<std::uint64_t, phase_count> bytes{};
    double seconds = 0;
    for (const Timeline::Total& total : totals) seconds += total.seconds;
    for (std::size_t phase = 0; phase < phase_count; ++phase) {
        mean[phase] = least[phase] = most[phase] = seconds > 0 ? totals[phase].seconds / seconds : 0;
        bytes[phase] = totals[phase].bytes;
    }
    ranks.all_reduce_sum(std::span<double>(mean));
    ranks.all_reduce_min(std::span<double>(least));
    ranks.all_reduce_max(std::span<double>(most));
    ranks.all_reduce_sum(std::span<std::uint64_t>(bytes));
    std::vector<PhaseSummary> phases;
    for (std::size_t phase = 0; phase < phase_count; ++phase)
        if (most[phase] > 0)
            phases.push_back({phase_names[phase], mean[phase] / ranks.size(), least[phase], most[phase], bytes[phase]});
    std::stable_sort(phases.begin(), phases.end(),
                     [](const PhaseSummary& a, const PhaseSummary& b) { return a.mean_share > b.mean_share; });
    return phases;
}

std::string phase_table(const std::vector<PhaseSummary>& phases) {
    std::string text = fmt::format("  {:<11}{:>9}{:>19}{:>12}\n", "time in", "mean", "least to most", "bytes");
    for (const PhaseSummary& phase : phases)
        text += fmt::format("  {:<11}{:>7.1f} %{:>8.1f} % to {:>4.1f} %{:>12}\n", phase.name, 100 * phase.mean_share,
                            100 * phase.least_share, 100 * phase.most_share,
                            phase.bytes > 0 ? format_bytes(phase.bytes) : "");
    return text;
}

std::optional<double> early_share(const Timeline& timeline, const Communicator& ranks) {
    std::array<std::uint64_t, 2> bytes{timeline.early_bytes(), timeline.summed_bytes()};
    ranks.all_reduce_sum(std::span<std::uint64_t>(bytes));
    if (bytes[1] == 0) return std::nullopt;
    return static_cast<double>(bytes[0]) / static_cast<double>(bytes[1]);
}

std::string chrome_trace(const Timeline& timeline, const Communicator& ranks) {
    const auto microseconds = [&](Timeline::Clock::time_point t) {
        return std::chrono::duration<double, std::micro>(t - timeline.start()).count();
    };
    fmt::memory_buffer mine;
    fmt::format_to(std::back_inserter(mine),
                   R"({{"name":"thread_name","ph":"M","pid":0,"tid":{0},"args":{{"name":"rank {0}"}}}})", ranks.rank());
    for (const Timeline::Entry& entry : timeline.entries()) {
        fmt::format_to(std::back_inserter(mine),
                       ",\n{{\"name\":\"{}\",\"ph\":\"X\",\"pid\":0,\"tid\":{},\"ts\":{:.1f},\"dur\":{:.1f}",
                       phase_names[static_cast<std::size_t>(entry.phase)], ranks.rank(), microseconds(entry.begin),
                       std::chrono::duration<double, std::micro>(entry.end - entry.begin).count());
        if (entry.bytes > 0) fmt::format_to(std::back_inserter(mine), ",\"args\":{{\"bytes\":{}}}", entry.bytes);
        mine.push_back('}');
    }
    // Rank 0 takes one rank's entries after the other: together they may be long.
    std::string trace = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n";
    for (int rank = 0; rank < ranks.size(); ++rank) {
        const std::string part = broadcast_text({mine.data(), ranks.rank() == rank ? mine.size() : 0}, ranks, rank);
        if (ranks.rank() == 0) trace += (rank > 0 ? ",\n" : "") + part;
    }
    return ranks.rank() == 0 ? trace + "\n]}\n" : "";
}

}  // namespace ulmpi
