#pragma once
// A POSIX file descriptor that closes itself, and the reads and writes that never stop half-way.

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>

#include "base/error.hpp"
#include "base/quoted.hpp"

namespace ulmpi {

/// What the operating system said last: "No such file or directory".
inline std::string system_reason() { return std::strerror(errno); }

class FileDescriptor {
public:
    /// Check is_open(): the caller knows best whether a failure is the user's.
    FileDescriptor(const std::filesystem::path& path, int flags)
        : path_(path), descriptor_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {}
    FileDescriptor(FileDescriptor&& other) noexcept
        : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}
    FileDescriptor& operator=(FileDescriptor&&) = delete;
    ~FileDescriptor() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }

    bool is_open() const { return descriptor_ >= 0; }

    /// Reads up to `size` bytes from the current position; fewer only at the end of the file.
    std::size_t read(void* bytes, std::size_t size) {
        std::size_t done = 0;
        while (done < size) {
            const ssize_t n = ::read(descriptor_, static_cast<char*>(bytes) + done, size - done);
            if (n < 0 && errno == EINTR) continue;
            check_done(n >= 0, "read");
            if (n == 0) break;
            done += static_cast<std::size_t>(n);
        }
        return done;
    }

    void write_at(std::uint64_t offset, const void* bytes, std::size_t size) {
        std::size_t done = 0;
        while (done < size) {
            const ssize_t n = ::pwrite(descriptor_, static_cast<const char*>(bytes) + done, size - done,
                                       static_cast<off_t>(offset + done));
            if (n < 0 && errno == EINTR) continue;
            if (n == 0) errno = ENOSPC;  // a file system that gives no reason
            check_done(n > 0, "write");
            done += static_cast<std::size_t>(n);
        }
    }

    /// Of a descriptor that was opened with O_DIRECT, in one call. Returns how many bytes were written: fewer, perhaps
    /// none, where the file system takes no such write.
    std::size_t write_directly_at(std::uint64_t offset, const void* bytes, std::size_t size) {
        const ssize_t n = ::pwrite(descriptor_, bytes, size, static_cast<off_t>(offset));
        check_done(n >= 0 || errno == EINVAL || errno == EINTR || errno == ENOTSUP, "write");
        return static_cast<std::size_t>(std::max<ssize_t>(n, 0));
    }

    /// Makes an empty file `size` bytes long and takes room on the disk for them, so that a lack of it is known before
    /// they are written, where the file system can tell. That it has its length first matters on network file systems:
    /// a node may write zeros around its own bytes where it believes that the file ends.
    void reserve(std::uint64_t size) {
        if (size == 0) return;
        while (::fallocate(descriptor_, 0, 0, static_cast<off_t>(size)) != 0) {
            if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL || errno == ENODEV) return truncate(size);
            check_done(errno == EINTR, "reserve room for");
        }
    }

    /// Lets the disk begin with these bytes while we go on; sync() then has less to wait for. Only a hint.
    void start_sync(std::uint64_t offset, std::size_t size) {
        ::sync_file_range(descriptor_, static_cast<off_t>(offset), static_cast<off_t>(size), SYNC_FILE_RANGE_WRITE);
    }

    /// Takes the file for this process alone, until it is closed. False if another process has it; true where the file
    /// system knows no locks.
    bool try_lock() { return ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK; }

    /// Cuts the file off, or lengthens it by zeros.
    void truncate(std::uint64_t length) {
        check_done(::ftruncate(descriptor_, static_cast<off_t>(length)) == 0, "write");
    }

    void seek(std::uint64_t offset) {
        check_done(::lseek(descriptor_, static_cast<off_t>(offset), SEEK_SET) >= 0, "read");
    }

    /// Until all is on the disk. Some file systems cannot flush a folder and say EINVAL; that is theirs to answer for.
    void sync() { check_done(::fsync(descriptor_) == 0 || errno == EINVAL, "flush"); }

private:
    // A function of its own, so that the reason is asked for after the call: arguments are evaluated in any order.
    void check_done(bool done, const char* deed) const {
        if (!done) [[unlikely]]
            throw Error(std::string("cannot ") + deed + " " + quoted(path_) + ": " + system_reason());
    }

    std::filesystem::path path_;
    int descriptor_ = -1;
};

}  // namespace ulmpi
