#pragma once
// ulmpi data tokenizer | shards | encode | verify | show

#include <span>
#include <string>
#include <vector>

#include "parallel/command_table.hpp"

namespace ulmpi {

/// Runs the command that arguments[0] names. Rank 0 works, the others wait for it; all return the same status or throw
/// the same UsageError. Collective.
int data_command(std::span<const std::string> arguments, const Communicator& world);
/// Those that arguments[0] may name.
const std::vector<Command>& data_commands();

/// Of data/inspection.cpp. `verify` returns 1 if it finds damage.
int data_verify_command(std::span<const std::string> arguments, const Communicator& world);
int data_show_command(std::span<const std::string> arguments, const Communicator& world);

}  // namespace ulmpi
