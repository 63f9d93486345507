#pragma once
// What a rank does when: the phases of its work on one line of time.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ulmpi {

class Communicator;

enum class Phase : std::uint8_t {
    other,  ///< whatever is not named
    load,
    forward,
    backward,
    all_reduce,
    broadcast,
    receive,  ///< from the neighbours of a pipeline stage, waiting for them included
    send,     ///< to them
    optimizer,
    evaluate,
    save,
};
constexpr std::size_t phase_count = 11;
constexpr std::array<std::string_view, phase_count> phase_names{"other",      "load",      "forward", "backward",
                                                                "all-reduce", "broadcast", "receive", "send",
                                                                "optimizer",  "evaluate",  "save"};

/// Adds up the time that one thread spends in each phase. Phases nest: time counts for the innermost alone, so that the
/// sums add up to all of it; but what an evaluation or a save is made of counts for that. Two readings of the clock a
/// phase; with trace() every single one is kept besides.
class Timeline {
public:
    using Clock = std::chrono::steady_clock;
    struct Total {
        double seconds = 0;
        std::uint64_t entered = 0, bytes = 0;  ///< bytes that went in or out
    };
    struct Entry {
        Phase phase;
        Clock::time_point begin, end;
        std::uint64_t bytes;
    };
    using Totals = std::array<Total, phase_count>;

    /// From now on, every phase is kept, up to `most` of them.
    void trace(std::size_t most);
    /// From now on, from nothing.
    void restart();
    /// Up to now.
    Totals totals() const;
    double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
    Clock::time_point start() const { return start_; }
    const std::vector<Entry>& entries() const { return entries_; }
    /// Whether phases came that were too many to be kept.
    bool cut() const { return cut_; }

    void enter(Phase phase, std::uint64_t bytes = 0);
    void leave();
    /// `early` of `all` bytes that were summed over ranks were there before anybody waited for them.
    void overlapped(std::uint64_t early, std::uint64_t all) {
        early_bytes_ += early;
        summed_bytes_ += all;
    }
    std::uint64_t early_bytes() const { return early_bytes_; }
    std::uint64_t summed_bytes() const { return summed_bytes_; }

private:
    struct Open {
        Phase phase, counts_for;
        Clock::time_point begin;
        std::uint64_t bytes;
    };
    /// What time counts for now.
    Phase charged_phase() const { return open_.empty() ? Phase::other : open_.back().counts_for; }
    Total& total(Phase phase) { return totals_[static_cast<std::size_t>(phase)]; }
    void charge(Clock::time_point now);

    Totals totals_{};
    std::vector<Open> open_;  ///< outermost first
    std::vector<Entry> entries_;
    std::size_t most_entries_ = 0;
    bool cut_ = false;
    std::uint64_t early_bytes_ = 0, summed_bytes_ = 0;
    Clock::time_point start_ = Clock::now(), charged_ = start_;
};

/// While it lives, the timeline is in a phase. Nothing happens where there is no timeline.
class During {
public:
    During(Timeline* timeline, Phase phase, std::uint64_t bytes = 0) : timeline_(timeline) {
        if (timeline_ != nullptr) timeline_->enter(phase, bytes);
    }
    ~During() {
        if (timeline_ != nullptr) timeline_->leave();
    }
    During(const During&) = delete;
    During& operator=(const During&) = delete;

private:
    Timeline* timeline_;
};

/// One phase over all ranks: shares are of the time of the rank.
struct PhaseSummary {
    std::string_view name;
    double mean_share = 0, least_share = 0, most_share = 0;
    std::uint64_t bytes = 0;  ///< of all ranks together
};
/// The phases that took any time, the longest first. Collective; the same on every rank.
std::vector<PhaseSummary> summarize(const Timeline& timeline, const Communicator& ranks);
/// A table for people: shares of the time, mean, least and most over the ranks, and what all of them sent.
std::string phase_table(const std::vector<PhaseSummary>& phases);

/// What share of the bytes that were summed while backward ran was there before anybody waited; nothing if none were
/// summed. Collective; the same on every rank.
std::optional<double> early_share(const Timeline& timeline, const Communicator& ranks);

/// The entries of all ranks as a Chrome trace (JSON), which Perfetto and chrome://tracing open: a track a rank,
/// microseconds from the start. Collective; the text on rank 0, empty elsewhere.
std::string chrome_trace(const Timeline& timeline, const Communicator& ranks);

}  // namespace ulmpi
