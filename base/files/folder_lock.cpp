#include "base/files/folder_lock.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "base/error.hpp"
#include "base/files/publish.hpp"
#include "base/quoted.hpp"

namespace ulmpi {

FolderLock::FolderLock(const std::filesystem::path& folder, const std::string& advice, std::chrono::seconds patience)
    : file_(folder / ".lock", O_RDWR | O_CREAT) {
    check_usage(file_.is_open(), "cannot make {}: {}", quoted(folder / ".lock"), system_reason());
    const auto end = std::chrono::steady_clock::now() + patience;
    bool held = file_.try_lock();
    if (!held && patience.count() > 0)
        fmt::print(stderr, "{} is in use; waiting up to {} s for it\n", quoted(folder), patience.count());
    while (!held && std::chrono::steady_clock::now() < end) {
        std::this_thread::sleep_for(std::chrono::milliseconds(500));
        held = file_.try_lock();
    }
    if (!held) {
        std::array<char, 300> holder{};
        const std::size_t length = file_.read(holder.data(), holder.size() - 1);
        throw UsageError(fmt::format("{} is in use by {}: {}", quoted(folder),
                                     length > 0 ? holder.data() : "another process", advice));
    }
    const std::string me = fmt::format("process {} on {}", ::getpid(), host_name());
    file_.truncate(0);
    file_.write_at(0, me.data(), me.size());
}

}  // namespace ulmpi
