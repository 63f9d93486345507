// Oracles: the bytes that were handed over, zlib's CRC-32 of them; a call that fails is an error, or makes no
// difference.

#include "base/files/direct_writer.hpp"

#include <gtest/gtest.h>
#include <zlib.h>

#include <random>
#include <string>
#include <vector>

#include "tests/base/temporary_folder.hpp"
#include "tests/checkpoints/faulty_calls.hpp"

namespace ulmpi {
namespace {

constexpr std::size_t least = DirectWriter::least, piece = DirectWriter::piece;

std::string noise(std::size_t size, unsigned seed) {
    std::mt19937_64 random(seed);
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    return bytes;
}

std::uint32_t crc_of(const std::string& bytes) {
    return static_cast<std::uint32_t>(
        ::crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
}

struct Part {
    std::uint64_t offset;
    std::size_t size;
};

// Below, at and above every boundary, one behind the other or with gaps.
std::vector<Part> parts() {
    std::vector<Part> all;
    std::uint64_t next = 512;
    for (std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{4096}, least - 1, least, least + 1, 2 * piece,
                             2 * piece + 5000, 3 * piece - 1})
        for (std::uint64_t gap : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{3583}}) {
            all.push_back({next + gap, size});
            next += gap + size;
        }
    return all;
}

std::string written_in(const std::filesystem::path& folder) {
    const std::filesystem::path file = folder / "file";
    write_whole(file, "what stood here before");
    DirectWriter writer(file);
    std::string expected = read_whole(file);
    for (const Part& part : parts()) {
        std::string bytes = noise(part.size, static_cast<unsigned>(part.offset));
        if (expected.size() < part.offset + part.size) expected.resize(part.offset + part.size, '\0');
        expected.replace(part.offset, part.size, bytes);
        EXPECT_EQ(writer.write(part.offset, std::as_bytes(std::span(bytes))), crc_of(bytes)) << part.size;
        bytes.assign(bytes.size(), 'x');  // it was copied
    }
    writer.finish();
    EXPECT_TRUE(read_whole(file) == expected);
    return expected;
}

TEST(DirectWriter, TheSameBytesOnADiskAndInMemory) {
    const TemporaryFolder on_disk, in_memory("/dev/shm");
    EXPECT_TRUE(written_in(on_disk.path()) == written_in(in_memory.path()));
}

TEST(DirectWriter, AFileThatIsNotThere) {
    const TemporaryFolder folder;
    EXPECT_NE(message_of<Error>([&] { DirectWriter(folder / "none"); }).find("none': No such file"), std::string::npos);
}

// Every call fails in its turn. Without an exception the file is whole; half a write and one that is refused as it is
// (EINVAL, in the middle of a direct write) are made good.
TEST(DirectWriter, EveryCallInTurn) {
    const TemporaryFolder folder;
    const std::filesystem::path file = folder / "file";
    const std::string large = noise(2 * piece + 9000, 1), small = noise(5000, 2);
    const auto write = [&] {
        DirectWriter writer(file);
        writer.write(100, std::as_bytes(std::span(large)));
        writer.write(100 + large.size(), std::as_bytes(std::span(small)));
        writer.finish();
    };
    const std::string expected = std::string(100, '\0') + large + small;
    const auto attempt = [&](long call, const char* kind) {
        write_whole(file, "");
        faulty_calls_begin(folder.path().c_str(), call, kind);
        const std::string failure = message_of<Error>(write);
        const long calls = faulty_calls_end();
        EXPECT_TRUE(!failure.empty() || read_whole(file) == expected) << kind << " " << call;
        return std::pair(calls, failure);
    };
    const long calls = attempt(0, "").first;
    EXPECT_GT(calls, 8);
    long overcome = 0;
    for (long call = 1; call <= calls; ++call) {
        EXPECT_EQ(attempt(call, "short").second, "");
        for (const char* kind : {"enospc", "full"}) {
            const std::string failure = attempt(call, kind).second;
            EXPECT_TRUE(failure.empty() || failure.find("No space left on device") != std::string::npos) << failure;
        }
        attempt(call, "eio");
        overcome += attempt(call, "einval").second.empty() ? 1 : 0;
    }
    EXPECT_GE(overcome, 3);  // of a second opening, of direct writes, of flushing where a file system cannot
}

TEST(DirectWriter, RoomIsReservedOrLackingAtOnce) {
    const TemporaryFolder folder;
    FileDescriptor file(folder / "file", O_WRONLY | O_CREAT);
    file.reserve(0);
    file.reserve(5000);
    EXPECT_EQ(std::filesystem::file_size(folder / "file"), 5000U);
    EXPECT_NE(message_of<Error>([&] { file.reserve(std::uint64_t{1} << 62); }), "");  // more than any disk
    faulty_calls_begin(folder.path().c_str(), 1, "enospc");
    const std::string failure = message_of<Error>([&] { file.reserve(6000); });
    faulty_calls_end();
    EXPECT_NE(failure.find("No space left on device"), std::string::npos);
    faulty_calls_begin(folder.path().c_str(), 1, "einval");  // a file system that cannot
    file.reserve(6000);
    EXPECT_EQ(faulty_calls_end(), 2);
    EXPECT_EQ(std::filesystem::file_size(folder / "file"), 6000U);
}

}  // namespace
}  // namespace ulmpi
