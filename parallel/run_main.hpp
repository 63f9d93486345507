#pragma once
// main() of the program: MPI from beginning to end, and how every failure ends.

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "base/error.hpp"
#include "parallel/communicator.hpp"

namespace ulmpi {

/// Initialises MPI (MPI_THREAD_FUNNELED), runs `body` and finalises. Returns the exit status:
/// body's own, 2 after a UsageError, or 1 after an AgreedError; every rank must have thrown it, rank 0 says it once.
/// Only rank 0 speaks: the standard output of the others goes nowhere.
/// Any other exception ends the job at once from whichever rank threw it, without unwinding (a destructor on the way
/// out may wait for a message that will never be matched, and peers may sit in a collective): exit status 1.
/// Results that standard output would not take (closed pipe, full disk) are such an Error.
int run_main(int argc, char** argv, const std::function<int(int, char**, const Communicator& world)>& body);

/// Makes the ranks agree on `problem`: collective. If any rank passes one that is not empty, every rank throws
/// UsageError with that of the lowest such rank.
void agree(const Communicator& world, const std::string& problem);

/// Throws UsageError on every rank unless all pass the same `value`. Collective. Most errors of distributed programs
/// are two ranks that believe different things.
void agree_on(const Communicator& world, const std::string& what, const std::string& value);

/// Runs `body`, which must not communicate, on every rank: options, files, whatever a rank may find unusable alone.
/// If it throws UsageError on any rank, every rank throws that of the lowest such rank. Collective.
/// Returns what body returns; it must return on every rank or throw UsageError.
template <class Body>
auto together(const Communicator& world, Body body) {
    std::string problem;
    if constexpr (std::is_void_v<decltype(body())>) {
        try {
            body();
        } catch (const UsageError& error) {
            problem = error.what();
        }
        agree(world, problem);
    } else {
        std::optional<decltype(body())> result;
        try {
            result.emplace(body());
        } catch (const UsageError& error) {
            problem = error.what();
        }
        agree(world, problem);
        return std::move(*result);
    }
}

/// Runs `body`, which must not communicate, on rank 0 alone, and gives every rank the text that it returns, or none. If
/// it throws UsageError, every rank throws that. Collective: one broadcast, since nobody else can fail.
std::string from_leader(const Communicator& world, const std::function<std::string()>& body);
void leader_alone(const Communicator& world, const std::function<void()>& body);

/// Writes one line of results to standard output and throws Error if that fails. For rank 0; others are not heard.
void print_line(const std::string& line);
/// A record in a line of JSON; bytes that are not UTF-8 are replaced.
void print_json(const nlohmann::ordered_json& record);

}  // namespace ulmpi
