#include "parallel/command_table.hpp"

#include <fmt/format.h>

#include "base/error.hpp"
#include "base/options/value.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {

std::string list_commands(const std::vector<Command>& commands) {
    std::string text;
    for (const Command& command : commands) text += fmt::format("\n  {:<12}{}", command.name, command.does);
    return text;
}

int run_command(const std::string& above, const std::vector<Command>& commands, std::span<const std::string> words,
                const Communicator& world) {
    const std::string typed = above.empty() ? "ulmpi" : "ulmpi " + above;
    std::vector<std::string> names;
    for (const Command& command : commands) names.push_back(command.name);

    check_usage(!words.empty(), "{} needs one of: {}", typed, fmt::join(names, ", "));
    if (words[0] == "--help" || words[0] == "-h") {
        print_line(fmt::format("usage: {} COMMAND [options]\n{}\n\n{} COMMAND --help explains a command.", typed,
                               list_commands(commands), typed));
        return 0;
    }
    for (const Command& command : commands)
        if (command.name == words[0]) return command.run(words.subspan(1), world);
    throw UsageError(fmt::format("unknown command \"{}\"{}; {} --help lists them",
                                 above.empty() ? words[0] : above + " " + words[0], suggestion(words[0], names),
                                 typed));
}

}  // namespace ulmpi
