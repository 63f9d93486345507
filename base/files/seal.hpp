#pragma once
// The seal of a finished HDF5 file: its first 512 bytes (the user block, which HDF5 skips) say in plain lines what
// the file is, how long it is, and the checksum of everything else. A damaged file is found out without a single
// byte of it being interpreted by a library. data/FORMAT.md has the layout.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "base/files/publish.hpp"

namespace ulmpi {

constexpr std::string_view token_shard_kind = "token-shards";
constexpr std::string_view labelled_set_kind = "labelled-set";
constexpr std::string_view checkpoint_kind = "checkpoint";

struct Seal {
    std::string kind;
    std::uint64_t bytes = 0;  // of the whole file
    std::uint32_t crc32 = 0;  // of all bytes after the first 512
};

constexpr std::size_t seal_size = 512;

/// CRC-32 (zlib's) continued over more bytes; start with 0.
std::uint32_t crc32_of(std::span<const std::byte> bytes, std::uint32_t before = 0);
/// The CRC-32 of two pieces one after the other, from theirs and the length of the second.
std::uint32_t crc32_joined(std::uint32_t first, std::uint32_t second, std::uint64_t second_bytes);
/// The CRC-32 of the bytes [begin, end) of a file; throws Error if it is shorter.
std::uint32_t crc32_of_file(const std::filesystem::path& path, std::uint64_t begin, std::uint64_t end);

/// Writes the seal into the user block of a closed file and flushes the file to disk. The second form trusts the
/// caller's checksum of all bytes after the user block, for one who computed it while writing.
void seal_file(const std::filesystem::path& path, std::string_view kind);
void seal_file(const std::filesystem::path& path, std::string_view kind, std::uint32_t crc32);

/// Reads a seal and checks it, the kind and the length of the file, not the content. An empty kind stands for any.
/// Throws UsageError saying what is wrong: no such file, not a sealed file, another kind, damaged, cut short.
Seal read_seal(const std::filesystem::path& path, std::string_view kind = "");

/// read_seal(), and every byte of the content against its checksum.
Seal verify_seal(const std::filesystem::path& path, std::string_view kind = "");

}  // namespace ulmpi
