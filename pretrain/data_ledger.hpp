#pragma once
// `ulmpi data ledger RUN`: was every sample read where the order says, over restarts and changes of layout?

#include <span>
#include <string>

#include "parallel/communicator.hpp"

namespace ulmpi {

int data_ledger_command(std::span<const std::string> arguments, const Communicator& world);

}  // namespace ulmpi
