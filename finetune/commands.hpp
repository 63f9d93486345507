#pragma once
// The commands of stages 2 and 3, and those that use and judge what they made.

#include <span>
#include <string>

#include "parallel/communicator.hpp"

namespace ulmpi {

int finetune_command(std::span<const std::string> arguments, const Communicator& world);
int predict_command(std::span<const std::string> arguments, const Communicator& world);
int evaluate_command(std::span<const std::string> arguments, const Communicator& world);
int bench_command(std::span<const std::string> arguments, const Communicator& world);

}  // namespace ulmpi
