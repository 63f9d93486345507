#pragma once
// How a file gets its final name: only when every byte of it is on disk.

#include <filesystem>
#include <string_view>

namespace ulmpi {

/// A name in the same folder for the file while it is being written: hidden, and owned by this process alone.
std::filesystem::path temporary_name(const std::filesystem::path& final_name);

/// Flushes the file (or folder) `temporary` to disk, renames it to `final_name`, which it replaces if that is a file,
/// and flushes the folder above. Throws Error.
void publish(const std::filesystem::path& temporary, const std::filesystem::path& final_name);

/// Flushes one file or folder to disk.
void sync_path(const std::filesystem::path& path);

/// Writes a whole small file and publishes it.
void write_file(const std::filesystem::path& final_name, std::string_view content);

}  // namespace ulmpi
