// Oracle: every truncation and every changed byte of a sealed file must be found out.

#include "base/files/seal.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <random>

#include "base/error.hpp"
#include "base/files/hdf5_file.hpp"
#include "tests/base/temporary_folder.hpp"

namespace ulmpi {
namespace {

std::string make_sealed(const std::filesystem::path& path) {
    {
        Hdf5File file = Hdf5File::create(path);
        Hdf5Dataset tokens = file.create_extendable("tokens", ElementType::u16, 64);
        tokens.append<std::int32_t>(std::vector<std::int32_t>(300, 3));
        file.write_text("tokenizer", "{}");
    }
    seal_file(path, token_shard_kind);
    return read_whole(path);
}

TEST(FileSeal, ASealedFileIsSoundAndStillHdf5) {
    const TemporaryFolder folder;
    const std::string bytes = make_sealed(folder / "file.h5");
    const Seal seal = verify_seal(folder / "file.h5", token_shard_kind);
    EXPECT_EQ(seal.bytes, bytes.size());
    EXPECT_EQ(seal.kind, token_shard_kind);
    EXPECT_NO_THROW(verify_seal(folder / "file.h5"));
    EXPECT_EQ(bytes.substr(0, 33), "ulmpi file 1\nkind token-shards\nby");
    EXPECT_EQ(Hdf5File::open(folder / "file.h5").read<std::int32_t>("tokens").size(), 300U);
}

TEST(FileSeal, FindsEveryTruncationAndExtension) {
    const TemporaryFolder folder;
    const std::string bytes = make_sealed(folder / "file.h5");
    for (std::size_t length = 0; length < bytes.size(); length += length < 600 ? 1 : 37) {
        write_whole(folder / "cut.h5", std::string_view(bytes).substr(0, length));
        EXPECT_THROW(verify_seal(folder / "cut.h5", token_shard_kind), UsageError) << length;
    }
    write_whole(folder / "cut.h5", std::string_view(bytes).substr(0, bytes.size() - 1));
    const std::string message = message_of<UsageError>([&] { read_seal(folder / "cut.h5"); });
    EXPECT_NE(message.find("truncated: expected " + std::to_string(bytes.size())), std::string::npos) << message;
    EXPECT_NE(message.find("found " + std::to_string(bytes.size() - 1)), std::string::npos) << message;
    write_whole(folder / "cut.h5", bytes + "x");
    EXPECT_THROW(verify_seal(folder / "cut.h5"), UsageError);
}

TEST(FileSeal, FindsEveryFlippedBit) {
    const TemporaryFolder folder;
    const std::string bytes = make_sealed(folder / "file.h5");
    std::mt19937 random(1);
    for (std::size_t i = 0; i < bytes.size(); i += i < 512 ? 1 : 1 + random() % 40) {
        std::string damaged = bytes;
        damaged[i] = static_cast<char>(damaged[i] ^ (1 << random() % 8));
        write_whole(folder / "damaged.h5", damaged);
        EXPECT_THROW(verify_seal(folder / "damaged.h5", token_shard_kind), UsageError) << i;
    }
}

TEST(FileSeal, RefusesStrangersByName) {
    const TemporaryFolder folder;
    make_sealed(folder / "file.h5");
    const auto message = [&](const char* name, std::string_view kind = "") {
        return message_of<UsageError>([&] { verify_seal(folder / name, kind); });
    };
    EXPECT_NE(message("file.h5", checkpoint_kind).find("kind 'token-shards', 'checkpoint' was expected"),
              std::string::npos);
    EXPECT_NE(message("missing.h5").find("No such file"), std::string::npos);
    EXPECT_NE(message(".").find("is a folder"), std::string::npos);
    write_whole(folder / "empty.h5", "");
    EXPECT_NE(message("empty.h5").find("is empty"), std::string::npos);
    write_whole(folder / "text", std::string(1000, 'x'));
    EXPECT_NE(message("text").find("not a file of this program"), std::string::npos);
    Hdf5File::create(folder / "unsealed.h5").close();
    EXPECT_NE(message("unsealed.h5").find("not a file of this program"), std::string::npos);
}

TEST(FileSeal, ChecksumsOfPartsJoin) {
    const TemporaryFolder folder;
    const std::string bytes = make_sealed(folder / "file.h5");
    const std::uint32_t whole = crc32_of(std::as_bytes(std::span(bytes)).subspan(seal_size));
    EXPECT_EQ(crc32_of(std::as_bytes(std::span("123456789", 9))), 0xcbf43926U);  // the check value of CRC-32/ISO-HDLC
    EXPECT_EQ(whole, verify_seal(folder / "file.h5").crc32);
    const std::uint32_t first = crc32_of_file(folder / "file.h5", seal_size, 700);
    const std::uint32_t second = crc32_of_file(folder / "file.h5", 700, bytes.size());
    EXPECT_EQ(crc32_joined(first, second, bytes.size() - 700), whole);
    seal_file(folder / "file.h5", token_shard_kind, whole);
    EXPECT_EQ(read_whole(folder / "file.h5"), bytes);
    EXPECT_THROW(crc32_of_file(folder / "file.h5", 0, bytes.size() + 1), Error);
}

TEST(Publish, MovesAWholeFileIntoPlace) {
    const TemporaryFolder folder;
    const std::filesystem::path temporary = temporary_name(folder / "file");
    EXPECT_EQ(temporary.parent_path(), folder.path());
    write_whole(temporary, "whole");
    publish(temporary, folder / "file");
    EXPECT_EQ(read_whole(folder / "file"), "whole");
    EXPECT_FALSE(std::filesystem::exists(temporary));
    write_file(folder / "file", "new");
    EXPECT_EQ(read_whole(folder / "file"), "new");
    EXPECT_THROW(write_file(folder / "missing" / "file", "new"), Error);
    EXPECT_THROW(publish(folder / "absent", folder / "file"), Error);
}

TEST(Publish, AFolderThatNobodyWritesAnyMoreIsRemoved) {
    const TemporaryFolder folder;
    const pid_t child = ::fork();
    if (child == 0) ::_exit(0);
    ::waitpid(child, nullptr, 0);
    const auto shards_of = [&](const std::string& final_name, pid_t writer) {
        std::string name = temporary_name(folder / final_name).filename().string();
        name.resize(name.rfind('-') + 1);
        const std::filesystem::path made = folder / (name + std::to_string(writer));
        std::filesystem::create_directory(made);
        write_whole(made / "shard-00000.h5", "half");
        return made;
    };
    const auto dead = shards_of("wiki", child), alive = shards_of("wiki", ::getpid()), other = shards_of("web", child);
    EXPECT_EQ(remove_stale_temporaries(folder / "wiki"), 1U);
    EXPECT_FALSE(std::filesystem::exists(dead));
    EXPECT_TRUE(std::filesystem::exists(alive / "shard-00000.h5"));
    EXPECT_TRUE(std::filesystem::exists(other));
    write_whole(folder / ".wiki.tmp-77", "x");  // nobody's
    EXPECT_EQ(remove_stale_temporaries(folder / "wiki"), 0U);
    EXPECT_TRUE(std::filesystem::exists(folder / ".wiki.tmp-77"));
}

}  // namespace
}  // namespace ulmpi
