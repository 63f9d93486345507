#pragma once
// Commands by name: the program's own table (main.cpp) and those of commands that have commands below them.

#include <span>
#include <string>
#include <vector>

#include "parallel/communicator.hpp"

namespace ulmpi {

struct Command {
    std::string name, does;  // "shards", "text to HDF5 shards of tokens"
    int (*run)(std::span<const std::string> arguments, const Communicator& world);  // returns the exit status
};

/// A line each: name and what it does.
std::string list_commands(const std::vector<Command>& commands);

/// Runs the command that words[0] names with the words after it. `above` is what was typed before ("data"; "" at the
/// top). --help lists the commands. Throws UsageError, with the nearest name, if there is no such command.
int run_command(const std::string& above, const std::vector<Command>& commands, std::span<const std::string> words,
                const Communicator& world);

}  // namespace ulmpi
