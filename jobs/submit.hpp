#pragma once
// `ulmpi submit`: the stages of a configuration file as a chain of Slurm jobs. `ulmpi status`: how far they are.

#include <span>
#include <string>

#include "parallel/communicator.hpp"

namespace ulmpi {

int submit_command(std::span<const std::string> arguments, const Communicator& world);
int status_command(std::span<const std::string> arguments, const Communicator& world);

}  // namespace ulmpi
