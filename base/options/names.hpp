#pragma once
// The names that the program's commands use, all in one list. A configuration file or an environment may serve several
// commands at once, so a command must tell another command's option from a misspelt one.
// tests/end_to_end/command_line_test.sh compares this list with what the commands themselves declare.

#include <string>
#include <vector>

namespace ulmpi {

/// Every command, as it is typed: "finetune lm".
const std::vector<std::string>& all_commands();

/// What a file's sections may be called: the commands, with dots for spaces, and what submit asks for each stage.
std::vector<std::string> all_sections();

/// Every option of every command, aliases included.
const std::vector<std::string>& all_options();

/// Set by the program itself, for the process it becomes, when it has chosen OPENBLAS_CORETYPE.
constexpr const char* blas_chosen_variable = "ULMPI_BLAS_CHOSEN";

/// Environment names that start with ULMPI_ and are no options.
const std::vector<std::string>& other_variables();

}  // namespace ulmpi
