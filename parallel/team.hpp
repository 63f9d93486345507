#pragma once
// The threads of one rank. They run the same code side by side (as ranks do), each on its own rows, and meet at
// barriers.

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "base/slice.hpp"

namespace ulmpi {

/// Where a team meets. Waits a little while awake, since the others are mostly about to arrive, then asleep, since the
/// cores may be others' as well (oversubscribed ranks, a busy node).
class TeamBarrier {
public:
    explicit TeamBarrier(int size) : size_(static_cast<std::uint32_t>(size)) {}
    void arrive_and_wait() {
        const std::uint32_t round = round_.load(std::memory_order_acquire);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
            arrived_.store(0, std::memory_order_relaxed);
            round_.fetch_add(1, std::memory_order_acq_rel);
            round_.notify_all();
            return;
        }
        for (int spin = 0; spin < spins; ++spin) {
            if (round_.load(std::memory_order_acquire) != round) return;
#if defined(__x86_64__)
            __builtin_ia32_pause();
#endif
        }
        while (round_.load(std::memory_order_acquire) == round) round_.wait(round, std::memory_order_acquire);
    }

private:
    static constexpr int spins = 2000;  // some tens of microseconds
    std::uint32_t size_;
    std::atomic<std::uint32_t> arrived_{0}, round_{0};
};

/// One worker's view of its team: who it is, and where it meets the others. Only worker 0 may call MPI.
class Team {
public:
    int rank() const { return rank_; }
    int size() const { return size_; }
    bool leader() const { return rank_ == 0; }

    void barrier() const {
        if (size_ > 1) meeting_->barrier.arrive_and_wait();
    }
    /// This worker's part of `whole` items.
    Range share(std::size_t whole) const {
        return even_slice(whole, static_cast<std::size_t>(size_), static_cast<std::size_t>(rank_));
    }
    /// Runs `body` on worker 0 when all have arrived; nobody goes on before it is done.
    template <typename Body>
    void single(Body body) const {
        barrier();
        if (leader()) body();
        barrier();
    }
    /// The sum of everyone's `mine`, added in the order of the workers, the same bits on each.
    double sum(double mine) const {
        meeting_->board[static_cast<std::size_t>(rank_)] = mine;
        barrier();
        double total = 0;
        for (int w = 0; w < size_; ++w) total += meeting_->board[static_cast<std::size_t>(w)];
        barrier();
        return total;
    }

private:
    template <typename Body>
    friend void run_team(int threads, Body body);
    struct Meeting {
        explicit Meeting(int size) : barrier(size), board(static_cast<std::size_t>(size)) {}
        TeamBarrier barrier;
        std::vector<double> board;
    };
    Team(int rank, int size, Meeting* meeting) : rank_(rank), size_(size), meeting_(meeting) {}
    int rank_, size_;
    Meeting* meeting_;
};

/// Runs `body(const Team&)` on `threads` threads, the caller being worker 0, and waits for all. An exception in a
/// worker of several ends the program: the others may be waiting for it. Starting a thread costs some tens of
/// microseconds: a team is made for a step, not a loop.
template <typename Body>
void run_team(int threads, Body body) {
    Team::Meeting meeting(threads);
    std::vector<std::jthread> others;
    for (int worker = 1; worker < threads; ++worker)
        others.emplace_back([&body, &meeting, worker, threads] { body(Team(worker, threads, &meeting)); });
    const auto lead = [&] { body(Team(0, threads, &meeting)); };
    if (threads == 1)
        lead();
    else
        [&]() noexcept { lead(); }();
}

}  // namespace ulmpi
