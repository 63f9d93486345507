#pragma once
// The commands on checkpoints that are there.

#include <span>
#include <string>

#include "parallel/communicator.hpp"

namespace ulmpi {

/// ulmpi checkpoint show|verify|slim|ensemble|import|export. Returns the exit status: 0, or 1 if a checkpoint does not
/// verify.
int checkpoint_command(std::span<const std::string> arguments, const Communicator& world);

}  // namespace ulmpi
