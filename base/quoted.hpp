#pragma once
// How messages write the name of a file, and what others say.

#include <fmt/format.h>

#include <exception>
#include <filesystem>
#include <string>

namespace ulmpi {

inline std::string quoted(const std::filesystem::path& path) { return fmt::format("'{}'", path.string()); }

/// What a JSON library's exception says, without its own name in square brackets.
inline std::string json_problem(const std::exception& error) {
    const std::string text = error.what();
    const auto name = text.starts_with('[') ? text.find("] ") : std::string::npos;
    return name == std::string::npos ? text : text.substr(name + 2);
}

}  // namespace ulmpi
