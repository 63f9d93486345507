#pragma once
// The bytes of a text file, unpacked: plain, gzip or zstd, told apart by how the file begins, whatever its name.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace ulmpi {

/// A forward-only stream in constant memory. Several gzip members or zstd frames in a row are one stream.
class ByteSource {
public:
    virtual ~ByteSource() = default;
    /// Fills `bytes` from the front and returns how many; 0 only at the end. Throws UsageError if the file is truncated
    /// or damaged.
    virtual std::size_t read(std::span<char> bytes) = 0;
    /// Bytes taken from the file so far (packed ones if it is packed), for progress.
    virtual std::uint64_t bytes_taken() const = 0;
};

/// "-" is standard input. Throws UsageError if the file cannot be opened, is a folder, or is empty.
std::unique_ptr<ByteSource> open_bytes(const std::filesystem::path& path);

}  // namespace ulmpi
