#include "base/files/publish.hpp"

#include <signal.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <fstream>
#include <optional>
#include <vector>

#include "base/files/descriptor.hpp"
#include "base/quoted.hpp"

namespace ulmpi {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view temporary_mark = ".tmp-";

fs::path folder_of(const fs::path& path) { return path.has_parent_path() ? path.parent_path() : fs::path("."); }

// Ended, be it that nobody has asked for its status yet (a zombie).
bool has_ended(pid_t process) {
    if (::kill(process, 0) != 0 && errno == ESRCH) return true;
    std::ifstream stat(fmt::format("/proc/{}/stat", process));
    std::string text;
    std::getline(stat, text);
    const std::size_t name_end = text.rfind(") ");
    return name_end != std::string::npos && (text[name_end + 2] == 'Z' || text[name_end + 2] == 'X');
}

// When a file, or the last file of a folder, was written to. Nothing if that cannot be told.
std::optional<fs::file_time_type> last_written(const fs::path& path) {
    std::error_code failure;
    fs::file_time_type last = fs::last_write_time(path, failure);
    if (!failure && fs::is_directory(path, failure))
        for (const fs::directory_entry& entry : fs::directory_iterator(path, failure))
            last = std::max(last, entry.last_write_time(failure));
    return failure ? std::nullopt : std::optional(last);
}

// The parts of a temporary file's name.
struct Temporary {
    std::string final_name, host;
    pid_t process = 0;
};

std::optional<Temporary> parse_temporary(const std::string& name) {
    const std::size_t mark = name.rfind(temporary_mark), dash = name.rfind('-');
    if (!name.starts_with('.') || mark == std::string::npos || dash < mark + temporary_mark.size()) return {};
    const std::size_t host = mark + temporary_mark.size();
    Temporary parts{name.substr(1, mark - 1), name.substr(host, dash - host)};
    const char* const end = name.data() + name.size();
    const auto [parsed, failure] = std::from_chars(name.data() + dash + 1, end, parts.process);
    return failure == std::errc() && parsed == end && parts.process > 0 ? std::optional(parts) : std::nullopt;
}

bool is_stale(const fs::path& path, const Temporary& owner) {
    if (owner.host == host_name()) return has_ended(owner.process);
    const std::optional<fs::file_time_type> written = last_written(path);
    return written && fs::file_time_type::clock::now() - *written > std::chrono::hours(24);
}

}  // namespace

std::string host_name() {
    std::array<char, 256> name{};
    ::gethostname(name.data(), name.size() - 1);
    return name.data();
}

fs::path temporary_name(const fs::path& final_name) {
    return final_name.parent_path() /
           fmt::format(".{}{}{}-{}", final_name.filename().string(), temporary_mark, host_name(), ::getpid());
}

std::size_t remove_stale_temporaries(const fs::path& folder,
                                     const std::function<bool(const std::string& final_name)>& chosen) {
    std::vector<fs::path> stale;
    std::error_code failure;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, failure)) {
        const std::optional<Temporary> parts = parse_temporary(entry.path().filename().string());
        if (parts && chosen(parts->final_name) && is_stale(entry.path(), *parts)) stale.push_back(entry.path());
    }
    for (const fs::path& path : stale) fs::remove_all(path, failure);
    return stale.size();
}

std::size_t remove_stale_temporaries(const fs::path& final_name) {
    return remove_stale_temporaries(folder_of(final_name),
                                    [&](const std::string& name) { return name == final_name.filename().string(); });
}

void sync_path(const fs::path& path) {
    FileDescriptor file(path, O_RDONLY);
    check(file.is_open(), "cannot open {}: {}", quoted(path), system_reason());
    file.sync();
}

fs::path set_aside(const fs::path& path) {
    const auto name = [&](int number) { return fs::path(fmt::format("{}.old-{}", path.string(), number)); };
    int number = 1;
    while (fs::exists(name(number))) ++number;
    std::error_code failure;
    fs::rename(path, name(number), failure);
    check(!failure, "cannot rename {}: {}", quoted(path), failure.message());
    return name(number);
}

void publish(const fs::path& temporary, const fs::path& final_name) {
    sync_path(temporary);
    std::error_code failure;
    fs::rename(temporary, final_name, failure);
    check(!failure, "cannot rename {} to {}: {}", quoted(temporary), quoted(final_name), failure.message());
    sync_path(folder_of(final_name));
}

void write_file(const fs::path& final_name, std::string_view content) {
    remove_stale_temporaries(final_name);
    const fs::path temporary = temporary_name(final_name);
    try {
        FileDescriptor file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
        check(file.is_open(), "cannot create {}: {}", quoted(temporary), system_reason());
        file.write_at(0, content.data(), content.size());
        file.sync();  // here, since closing may flush as well, and tells nobody of a failure
        publish(temporary, final_name);
    } catch (...) {
        ::unlink(temporary.c_str());
        throw;
    }
}

}  // namespace ulmpi
