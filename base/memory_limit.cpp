#include "base/memory_limit.hpp"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace ulmpi {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

// A file with a number, or with "max".
std::size_t limit_in(const fs::path& file) {
    std::ifstream in(file);
    std::size_t bytes = 0;
    return in >> bytes ? bytes : unlimited;
}

// The least limit of a group and of the groups it lies in: each bounds what is below. In a container its path may be
// that of the machine while the files show the container's own groups at the top, so paths that are not there are
// passed over.
std::size_t limit_of_group(const fs::path& top, const fs::path& group, const char* name) {
    std::size_t least = limit_in(top / name);
    fs::path folder = top;
    for (const fs::path& part : group.relative_path()) least = std::min(least, limit_in((folder /= part) / name));
    return least;
}

}  // namespace

// A line of own_groups is "number:controllers:path"; version 2 has no controllers in it.
std::size_t memory_limit(const fs::path& own_groups, const fs::path& group_files) {
    std::size_t least =
        static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGE_SIZE));
    std::ifstream lines(own_groups);
    for (std::string line; std::getline(lines, line);) {
        const std::size_t first = line.find(':'), second = line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
        const fs::path group = line.substr(second + 1);
        if (controllers == ",,")
            least = std::min(least, limit_of_group(group_files, group, "memory.max"));
        else if (controllers.find(",memory,") != std::string::npos)
            least = std::min(least, limit_of_group(group_files / "memory", group, "memory.limit_in_bytes"));
    }
    return least;
}

}  // namespace ulmpi
