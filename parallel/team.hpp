#pragma once
// The threads of one rank. They run the same code side by side (as ranks do), each on its own rows, and meet at
// barriers.

#include <omp.h>

#include <vector>

#include "parallel/slice.hpp"

namespace ulmpi {

/// One worker's view of its team: who it is, and where it meets the others. Only worker 0 may call MPI.
class Team {
public:
    int rank() const { return rank_; }
    int size() const { return size_; }
    bool leader() const { return rank_ == 0; }

    void barrier() const {
        if (size_ > 1) {
#pragma omp barrier
        }
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
        board_[static_cast<std::size_t>(rank_)] = mine;
        barrier();
        double total = 0;
        for (int w = 0; w < size_; ++w) total += board_[static_cast<std::size_t>(w)];
        barrier();
        return total;
    }

private:
    template <typename Body>
    friend void run_team(int threads, Body body);
    Team(int rank, int size, double* board) : rank_(rank), size_(size), board_(board) {}
    int rank_, size_;
    double* board_;
};

/// Runs `body(const Team&)` on `threads` threads and waits for all. An exception in a worker ends the program.
template <typename Body>
void run_team(int threads, Body body) {
    std::vector<double> board(static_cast<std::size_t>(threads));
    if (threads == 1) {
        body(Team(0, 1, board.data()));
        return;
    }
#pragma omp parallel num_threads(threads)
    body(Team(omp_get_thread_num(), omp_get_num_threads(), board.data()));
}

}  // namespace ulmpi
