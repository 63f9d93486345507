#pragma once
// Sums over ranks that go on while the rank does other work.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>

#include "parallel/communicator.hpp"
#include "parallel/timeline.hpp"

namespace ulmpi {

/// Adds up spans over all ranks of a communicator, one after the other, a few pieces at a time so that their operands
/// take little room. MPI moves a sum only while it is called: progress() does so now and then, finish() until all is
/// done. Every rank adds the same spans in the same order; none of them may be touched before finish(). One thread of a
/// rank calls it. `ranks` must outlive this.
template <typename T>
class RunningSums {
public:
    explicit RunningSums(const Communicator& ranks, Timeline* timeline = nullptr)
        : ranks_(ranks), timeline_(timeline) {}

    void add(std::span<T> inout) {
        if (ranks_.size() == 1) return;
        const std::size_t most = ranks_.most_at_once<T>();
        for (std::size_t first = 0; first < inout.size(); first += most)
            waiting_.push_back(inout.subspan(first, std::min(most, inout.size() - first)));
        bytes_ += inout.size_bytes();
    }

    /// Begins what is next and takes what is done; never waits.
    void progress() {
        if (waiting_.empty() && under_way_.empty()) return;
        const During phase(timeline_, Phase::all_reduce);
        begin();
        while (!under_way_.empty() && under_way_.front().request.done()) {
            early_bytes_ += under_way_.front().bytes;
            under_way_.pop_front();
            begin();
        }
    }

    /// Waits for all of them.
    void finish() {
        if (bytes_ == 0) return;
        const During phase(timeline_, Phase::all_reduce, bytes_);
        for (begin(); !under_way_.empty(); begin()) under_way_.pop_front();
    }

    /// Of all that was added; and what of it was done before finish() was called.
    std::uint64_t bytes() const { return bytes_; }
    std::uint64_t early_bytes() const { return early_bytes_; }

private:
    static constexpr std::size_t most_under_way = 2;
    struct UnderWay {
        Request request;
        std::uint64_t bytes;
    };
    void begin() {
        while (under_way_.size() < most_under_way && !waiting_.empty()) {
            under_way_.push_back({ranks_.begin_all_reduce_sum(waiting_.front()), waiting_.front().size_bytes()});
            waiting_.pop_front();
        }
    }

    const Communicator& ranks_;
    Timeline* timeline_;
    std::deque<std::span<T>> waiting_;
    std::deque<UnderWay> under_way_;
    std::uint64_t bytes_ = 0, early_bytes_ = 0;
};

}  // namespace ulmpi
