#pragma once
// Writes large pieces of a file while their maker goes on, past the page cache where the disk is this machine's own.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <span>

#include "base/files/descriptor.hpp"

namespace ulmpi {

/// Copying into the page cache is what writing costs on a fast disk (docs/performance.md, "Saving"). Pieces of whole
/// pages therefore go to a local disk as they are (O_DIRECT); what is left over at their ends, what a file system
/// refuses, and all that lies elsewhere is written the ordinary way. The bytes in the file are the same.
class DirectWriter {
public:
    /// Opens a file that is there. Throws Error.
    explicit DirectWriter(const std::filesystem::path& path);
    DirectWriter(const DirectWriter&) = delete;  // writes under way know where it is
    DirectWriter& operator=(const DirectWriter&) = delete;

    /// Writes `bytes` at `offset`, which nobody else may write to. Returns their CRC-32; they may change then. Throws
    /// Error, perhaps for what was written before.
    std::uint32_t write(std::uint64_t offset, std::span<const std::byte> bytes);
    /// Until all of it is on the disk. Throws Error.
    void finish();

    /// Bytes at a time, and how many pieces are under way at most.
    static constexpr std::size_t piece = std::size_t{4} << 20, pieces = 2;
    /// What is shorter is not worth a request of its own to the disk.
    static constexpr std::size_t least = std::size_t{1} << 20;

private:
    struct Free {
        void operator()(std::byte* memory) const { std::free(memory); }
    };
    struct Slot {
        std::unique_ptr<std::byte, Free> copy;
        std::future<void> written;  // its destructor waits
    };

    std::uint32_t write_ordinarily(std::uint64_t offset, std::span<const std::byte> bytes);
    std::uint32_t begin_piece(std::uint64_t offset, std::span<const std::byte> bytes);

    FileDescriptor file_;
    std::optional<FileDescriptor> direct_;  // the same file, if it is worth it
    std::array<Slot, pieces> slots_;
    std::size_t next_ = 0;
};

}  // namespace ulmpi
