#include "parallel/run_main.hpp"

#include <mpi.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <iostream>
#include <new>
#include <nlohmann/json.hpp>
#include <thread>

namespace ulmpi {
namespace {

constexpr int bad_usage = 2;

int world_rank() {
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
}

/// The terminate handler: says what was thrown and ends every rank.
[[noreturn]] void end_job() noexcept {
    try {
        if (const auto thrown = std::current_exception()) std::rethrow_exception(thrown);
        std::fprintf(stderr, "[rank %d] terminated without an exception\n", world_rank());
    } catch (const std::bad_alloc&) {
        std::fprintf(stderr, "[rank %d] out of memory\n", world_rank());
    } catch (const std::exception& error) {
        std::fprintf(stderr, "[rank %d] %s\n", world_rank(), error.what());
    } catch (...) {
        std::fprintf(stderr, "[rank %d] unknown exception\n", world_rank());
    }
    std::fflush(nullptr);
    MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
    std::_Exit(EXIT_FAILURE);
}

/// Waits for all ranks to come here too. A rank that stays alone for 10 s found something that the others did not:
/// it says so itself and ends the job, since they may wait for it in a collective.
void meet_after(const Error& error, int status) {
    MPI_Request met = MPI_REQUEST_NULL;
    MPI_Ibarrier(MPI_COMM_WORLD, &met);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    for (int done = 0;;) {
        MPI_Test(&met, &done, MPI_STATUS_IGNORE);
        if (done) return;
        if (std::chrono::steady_clock::now() > deadline) break;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::fprintf(stderr, "[rank %d] %s\n", world_rank(), error.what());
    MPI_Abort(MPI_COMM_WORLD, status);
}

void check_output() {
    std::cout.flush();
    check(std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.good(),
          "cannot write the results to standard output: the disk is full or the reader has gone");
}

}  // namespace

int run_main(int argc, char** argv, const std::function<int(int, char**, const Communicator&)>& body) {
    // A reader that has gone and a file that may not grow (ulimit -f) are reported, not fatal without a word.
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);
    int provided = 0;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
    std::set_terminate(end_job);
    const bool speaks = world_rank() == 0;
    if (!speaks && std::freopen("/dev/null", "w", stdout) == nullptr) std::fclose(stdout);

    int status = EXIT_SUCCESS;
    const auto end_in_order = [&](const Error& error, int with) {
        meet_after(error, with);
        if (speaks) std::fprintf(stderr, "ulmpi: %s\n", error.what());
        status = with;
    };
    try {
        const Communicator world = Communicator::world();
        status = body(argc, argv, world);
        check_output();
    } catch (const UsageError& error) {
        end_in_order(error, bad_usage);
    } catch (const AgreedError& error) {
        end_in_order(error, EXIT_FAILURE);
    }
    MPI_Finalize();
    return status;
}

void agree(const Communicator& world, const std::string& problem) {
    std::int32_t first = problem.empty() ? world.size() : world.rank();
    world.all_reduce_min(std::span<std::int32_t>(&first, 1));
    if (first == world.size()) return;
    throw UsageError(broadcast_text(problem, world, first));
}

void agree_on(const Communicator& world, const std::string& what, const std::string& value) {
    const std::uint64_t hash = std::hash<std::string>{}(value);
    std::array<std::uint64_t, 2> least_and_most{hash, ~hash};
    world.all_reduce_min(std::span<std::uint64_t>(least_and_most));
    check_usage(least_and_most[0] == ~least_and_most[1],
                "the ranks do not have the same {}: compare the environment (ULMPI_*) and files of the nodes", what);
}

std::string from_leader(const Communicator& world, const std::function<std::string()>& body) {
    constexpr char good = '+', bad = '-';
    std::string said;
    if (world.rank() == 0) try {
            said = good + body();
        } catch (const UsageError& problem) {
            said = bad + std::string(problem.what());
        }
    said = broadcast_text(std::move(said), world, 0);
    if (said.front() == bad) throw UsageError(said.substr(1));
    return said.substr(1);
}

void leader_alone(const Communicator& world, const std::function<void()>& body) {
    from_leader(world, [&] {
        body();
        return std::string();
    });
}

void print_line(const std::string& line) {
    std::printf("%s\n", line.c_str());
    check_output();
}

void print_json(const nlohmann::ordered_json& record) {
    print_line(record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace ulmpi
