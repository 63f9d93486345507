#pragma once
// How a file gets its final name: only when every byte of it is on disk.

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace ulmpi {

/// What this machine calls itself.
std::string host_name();

/// A name in the same folder for the file (or folder) while it is being written: ".NAME.tmp-HOST-PID", hidden, and
/// owned by this process alone.
std::filesystem::path temporary_name(const std::filesystem::path& final_name);

/// Removes the temporary files and folders that dead writers left in `folder`, of those whose final name is `chosen`:
/// the writers of this host whose process is gone, those of others that have not written for a day. What cannot be
/// removed stays. Returns how many there were.
std::size_t remove_stale_temporaries(const std::filesystem::path& folder,
                                     const std::function<bool(const std::string& final_name)>& chosen);
/// The same for the earlier writers of one file or folder.
std::size_t remove_stale_temporaries(const std::filesystem::path& final_name);

/// Flushes the file (or folder) `temporary` to disk, renames it to `final_name`, which it replaces if that is a file,
/// and flushes the folder above. Throws Error.
void publish(const std::filesystem::path& temporary, const std::filesystem::path& final_name);

/// Renames a file or folder to PATH.old-1, or the first number that is free. Returns that name. Throws Error.
std::filesystem::path set_aside(const std::filesystem::path& path);

/// Flushes one file or folder to disk.
void sync_path(const std::filesystem::path& path);

/// Writes a whole small file and publishes it. Throws Error, and then leaves nothing behind.
void write_file(const std::filesystem::path& final_name, std::string_view content);

}  // namespace ulmpi
