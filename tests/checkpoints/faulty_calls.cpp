#include "tests/checkpoints/faulty_calls.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

namespace {

enum class Verdict { pass, fail, half };
// What a call needs: room on the disk, or only that the file system can be changed; `close` needs nothing.
enum class Needs { room, change, nothing };

std::string text_of(const char* variable) {
    const char* value = std::getenv(variable);
    return value == nullptr ? "" : value;
}

class Faults {
public:
    Faults() {
        const std::string rank = text_of("FAULTY_RANK");
        if (!rank.empty() && rank != text_of("OMPI_COMM_WORLD_RANK")) return;
        begin(text_of("FAULTY_FOLDER"), std::atol(text_of("FAULTY_CALL").c_str()), text_of("FAULTY_KIND"));
        log_ = text_of("FAULTY_LOG");
    }

    void begin(std::string folder, long call, std::string kind) {
        const std::lock_guard lock(guard_);
        folder_ = std::move(folder);
        call_ = call;
        kind_ = std::move(kind);
        calls_ = unflushed_ = 0;
        written_.clear();
    }
    long end() {
        const std::lock_guard lock(guard_);
        folder_.clear();
        return calls_;
    }
    long unflushed() const { return unflushed_; }

    // errno is set where the verdict is to fail.
    Verdict of(std::string_view name, const std::string& path, Needs needs, bool is_write = false) {
        const std::lock_guard lock(guard_);
        if (!concerns(path)) return Verdict::pass;
        ++calls_;
        note(name, path);
        if (call_ == 0 || calls_ < call_) return Verdict::pass;
        const bool first = calls_ == call_;
        if (kind_ == "short") return first && is_write ? Verdict::half : Verdict::pass;
        if (kind_ == "full") {
            if (first && is_write) return Verdict::half;
            return needs == Needs::room ? failing(ENOSPC) : Verdict::pass;
        }
        if (kind_ == "readonly") return needs == Needs::nothing ? Verdict::pass : failing(EROFS);
        return first ? failing(kind_ == "eio" ? EIO : kind_ == "einval" ? EINVAL : ENOSPC) : Verdict::pass;
    }

    void written(int file) {
        remember([&](const std::string& path) { written_.insert(path); }, file);
    }
    void flushed(int file) {
        remember([&](const std::string& path) { written_.erase(path); }, file);
    }
    void closed(int file) {
        remember([&](const std::string& path) { unflushed_ += static_cast<long>(written_.erase(path)); }, file);
    }

    static std::string path_of(int file) {
        std::array<char, 4096> path{};
        const ssize_t length =
            ::readlink(("/proc/self/fd/" + std::to_string(file)).c_str(), path.data(), path.size() - 1);
        return length > 0 ? std::string(path.data(), static_cast<std::size_t>(length)) : "";
    }
    static std::string absolute(const char* path) {
        if (path == nullptr || *path == '/') return path == nullptr ? "" : path;
        std::array<char, 4096> folder{};
        return ::getcwd(folder.data(), folder.size()) == nullptr ? path : std::string(folder.data()) + "/" + path;
    }

private:
    static Verdict failing(int reason) {
        errno = reason;
        return Verdict::fail;
    }
    bool concerns(const std::string& path) const {
        return !folder_.empty() && path.starts_with(folder_) &&
               (path.size() == folder_.size() || path[folder_.size()] == '/');
    }
    void note(std::string_view name, const std::string& path) const {
        if (log_.empty()) return;
        const std::string line = std::string(name) + " " + path + "\n";
        const long file =
            ::syscall(SYS_openat, AT_FDCWD, log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        ::syscall(SYS_write, file, line.data(), line.size());
        ::syscall(SYS_close, file);
    }
    template <class Change>
    void remember(Change change, int file) {
        const std::string path = path_of(file);  // any descriptor of a file flushes all of it
        const std::lock_guard lock(guard_);
        if (concerns(path)) change(path);
    }

    std::mutex guard_;
    std::string folder_, kind_, log_;
    long call_ = 0, calls_ = 0, unflushed_ = 0;
    std::set<std::string> written_;
};

Faults& faults() {
    static auto* const all = new Faults;  // never destroyed: calls come until the very end of the process
    return *all;
}

template <class Function>
Function* real(Function*, const char* name) {
    return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}
#define REAL(function) real(&::function, #function)

int open_through(const char* path, int flags, mode_t mode) {
    static const auto next = REAL(open64);
    const bool changes = (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) != 0;
    if (changes && faults().of("open", Faults::absolute(path), Needs::room) == Verdict::fail) return -1;
    return next(path, flags, mode);
}

ssize_t pwrite_through(int file, const void* bytes, std::size_t size, off_t offset) {
    static const auto next = REAL(pwrite64);
    const Verdict verdict = faults().of("write", Faults::path_of(file), Needs::room, true);
    if (verdict == Verdict::fail) return -1;
    faults().written(file);
    return next(file, bytes, verdict == Verdict::half ? (size + 1) / 2 : size, offset);
}

int ftruncate_through(int file, off_t length) {
    static const auto next = REAL(ftruncate64);
    if (faults().of("ftruncate", Faults::path_of(file), Needs::room) == Verdict::fail) return -1;
    faults().written(file);
    return next(file, length);
}

int fallocate_through(int file, int mode, off_t offset, off_t length) {
    static const auto next = REAL(fallocate64);
    if (faults().of("fallocate", Faults::path_of(file), Needs::room) == Verdict::fail) return -1;
    return next(file, mode, offset, length);
}

}  // namespace

extern "C" {

void faulty_calls_begin(const char* folder, long call, const char* kind) { faults().begin(folder, call, kind); }
long faulty_calls_end() { return faults().end(); }
long faulty_calls_unflushed() { return faults().unflushed(); }

int open(const char* path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const auto mode = static_cast<mode_t>(va_arg(more, unsigned));
    va_end(more);
    return open_through(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const auto mode = static_cast<mode_t>(va_arg(more, unsigned));
    va_end(more);
    return open_through(path, flags, mode);
}

ssize_t write(int file, const void* bytes, std::size_t size) {
    static const auto next = REAL(write);
    const Verdict verdict = faults().of("write", Faults::path_of(file), Needs::room, true);
    if (verdict == Verdict::fail) return -1;
    faults().written(file);
    return next(file, bytes, verdict == Verdict::half ? (size + 1) / 2 : size);
}

ssize_t pwrite(int file, const void* bytes, std::size_t size, off_t offset) {
    return pwrite_through(file, bytes, size, offset);
}
ssize_t pwrite64(int file, const void* bytes, std::size_t size, off64_t offset) {
    return pwrite_through(file, bytes, size, offset);
}
int fallocate(int file, int mode, off_t offset, off_t length) { return fallocate_through(file, mode, offset, length); }
int fallocate64(int file, int mode, off64_t offset, off64_t length) {
    return fallocate_through(file, mode, offset, length);
}
int ftruncate(int file, off_t length) noexcept { return ftruncate_through(file, length); }
int ftruncate64(int file, off64_t length) noexcept { return ftruncate_through(file, length); }

int fsync(int file) {
    static const auto next = REAL(fsync);
    if (faults().of("fsync", Faults::path_of(file), Needs::room) == Verdict::fail) return -1;
    faults().flushed(file);
    return next(file);
}

int fdatasync(int file) {
    static const auto next = REAL(fdatasync);
    if (faults().of("fdatasync", Faults::path_of(file), Needs::room) == Verdict::fail) return -1;
    faults().flushed(file);
    return next(file);
}

int close(int file) {
    static const auto next = REAL(close);
    const std::string path = Faults::path_of(file);
    faults().closed(file);
    const Verdict verdict = faults().of("close", path, Needs::nothing);
    const int reason = errno, status = next(file);
    if (verdict != Verdict::fail) return status;
    errno = reason;
    return -1;
}

int rename(const char* from, const char* to) noexcept {
    static const auto next = REAL(rename);
    return faults().of("rename", Faults::absolute(to), Needs::change) == Verdict::fail ? -1 : next(from, to);
}

int mkdir(const char* path, mode_t mode) noexcept {
    static const auto next = REAL(mkdir);
    return faults().of("mkdir", Faults::absolute(path), Needs::room) == Verdict::fail ? -1 : next(path, mode);
}

int unlink(const char* path) noexcept {
    static const auto next = REAL(unlink);
    return faults().of("unlink", Faults::absolute(path), Needs::change) == Verdict::fail ? -1 : next(path);
}

int unlinkat(int folder, const char* path, int flags) noexcept {
    static const auto next = REAL(unlinkat);
    const std::string whole =
        folder == AT_FDCWD || *path == '/' ? Faults::absolute(path) : Faults::path_of(folder) + "/" + path;
    return faults().of("unlink", whole, Needs::change) == Verdict::fail ? -1 : next(folder, path, flags);
}

int remove(const char* path) noexcept {
    static const auto next = REAL(remove);
    return faults().of("unlink", Faults::absolute(path), Needs::change) == Verdict::fail ? -1 : next(path);
}
}
