#pragma once
// `ulmpi fit`: from labelled texts to a classifier, in the minutes given.

#include <span>
#include <string>

#include "parallel/communicator.hpp"

namespace ulmpi {

/// Plans stages 2 and 3 for the time given, runs them and reports. Returns the exit status.
int fit_command(std::span<const std::string> arguments, const Communicator& world);

}  // namespace ulmpi
