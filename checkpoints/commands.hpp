#pragma once
// The commands that look into checkpoints.

#include <span>
#include <string>

#include "parallel/communicator.hpp"

namespace ulmpi {

/// ulmpi checkpoint show|verify PATH. Returns the exit status: 0, or 1 if a checkpoint does not verify.
int checkpoint_command(std::span<const std::string> arguments, const Communicator& world);

}  // namespace ulmpi
