#pragma once
// How messages write the name of a file.

#include <fmt/format.h>

#include <filesystem>
#include <string>

namespace ulmpi {

inline std::string quoted(const std::filesystem::path& path) { return fmt::format("'{}'", path.string()); }

}  // namespace ulmpi
