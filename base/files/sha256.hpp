#pragma once
// The door to libmd.

#include <filesystem>
#include <string>

namespace ulmpi {

/// SHA-256 of a file's bytes, 64 hexadecimal digits as sha256sum writes them. Throws Error if it cannot be read.
std::string sha256_of_file(const std::filesystem::path& file);

}  // namespace ulmpi
