#pragma once
// The commands of stage 1, and those that show what it made.

#include <span>
#include <string>

#include "parallel/communicator.hpp"

namespace ulmpi {

int pretrain_command(std::span<const std::string> arguments, const Communicator& world);
int generate_command(std::span<const std::string> arguments, const Communicator& world);

}  // namespace ulmpi
