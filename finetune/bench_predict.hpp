#pragma once
// How fast this machine labels texts.

#include <span>
#include <string>

#include "parallel/communicator.hpp"

namespace ulmpi {

/// Labels the lines of a file with a classifier, some times over, and prints the medians as a JSON line.
int bench_predict_command(std::span<const std::string> arguments, const Communicator& world);

}  // namespace ulmpi
