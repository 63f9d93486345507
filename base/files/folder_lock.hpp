#pragma once
// One process at a time in a folder.

#include <chrono>
#include <filesystem>
#include <string>

#include "base/files/descriptor.hpp"

namespace ulmpi {

/// While it lives, no other process may hold the folder; it goes with its process, however that ends.
class FolderLock {
public:
    /// Throws UsageError naming the holder, and `advice` for the user, if there is one and it does not let go within
    /// `patience`. On file systems without locks nothing is held.
    FolderLock(const std::filesystem::path& folder, const std::string& advice,
               std::chrono::seconds patience = std::chrono::seconds(0));

private:
    FileDescriptor file_;
};

}  // namespace ulmpi
