#pragma once
// How much memory the processes of this node may use together.

#include <cstddef>
#include <filesystem>

namespace ulmpi {

/// Bytes: the machine's memory, or the least limit of the control groups that this process is in (a container's, a
/// Slurm job's) where that is lower. The arguments are for tests.
std::size_t memory_limit(const std::filesystem::path& own_groups = "/proc/self/cgroup",
                         const std::filesystem::path& group_files = "/sys/fs/cgroup");

}  // namespace ulmpi
