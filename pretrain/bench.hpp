#pragma once
// How fast this machine trains.

#include <span>
#include <string>

#include "parallel/communicator.hpp"

namespace ulmpi {

/// Trains a shape on random tokens and prints the medians as a JSON line.
int bench_step_command(std::span<const std::string> arguments, const Communicator& world);
/// Prints the GEMM peak of the threads of one rank as a JSON line.
int bench_gemm_command(std::span<const std::string> arguments, const Communicator& world);

}  // namespace ulmpi
