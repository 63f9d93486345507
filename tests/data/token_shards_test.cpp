// Oracles: encoding document by document in memory; equality of shards made in different ways; h5py for the format.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <cstdlib>
#include <random>

#include "base/error.hpp"
#include "base/files/seal.hpp"
#include "data/shard_writer.hpp"
#include "data/token_dataset.hpp"
#include "tests/base/temporary_folder.hpp"
#include "tests/data/test_tokenizer.hpp"

namespace ulmpi {
namespace {

std::string some_text() {
    std::mt19937 random(5);
    const char* words[] = {"the ", "cat ", "sat ", "on\t", "a ", "mat.", "\xc3\xa9t\xc3\xa9 ", "\xff "};
    std::string text;
    for (int i = 0; i < 3000; ++i) {
        for (auto n = random() % 12; n > 0; --n) text += words[random() % 8];
        text += '\n';
    }
    return text;
}

CorpusCounts make_shards(const std::filesystem::path& text, const std::filesystem::path& folder,
                         const ShardOptions& options, TextOptions text_options = {}) {
    TextReader reader({text}, text_options);
    return write_shards(test_tokenizer(), reader, folder, options);
}

/// What the shards of `text` must hold, the naive way.
struct Expected {
    explicit Expected(const std::string& text) {
        const Tokenizer tokenizer = test_tokenizer();
        for (std::size_t begin = 0, end; begin < text.size(); begin = end) {
            end = text.find('\n', begin) + 1;
            starts.push_back(tokens.size());
            const std::string line = text.substr(begin, end - begin);
            const std::vector<Token> encoded = tokenizer.encode(line);
            tokens.insert(tokens.end(), encoded.begin(), encoded.end());
            tokens.push_back(tokenizer.end_of_text());
            std::size_t word_begin = line.find_first_not_of(" \t\r\n\v\f");
            while (word_begin != std::string::npos) {
                ++words;
                word_begin = line.find_first_not_of(" \t\r\n\v\f", line.find_first_of(" \t\r\n\v\f", word_begin));
            }
            ++words;  // the newline
        }
    }
    std::vector<Token> tokens;
    std::vector<std::uint64_t> starts;
    std::uint64_t words = 0;
};

std::vector<Token> all_tokens(const TokenDataset& dataset) {
    std::vector<Token> tokens(dataset.token_count());
    dataset.read(0, tokens);
    return tokens;
}

// Those of a file that holds no others.
TEST(TokenShards, OfSomeDocumentsAlone) {
    const TemporaryFolder folder;
    const std::string text = some_text();
    std::string third;
    std::uint64_t document = 0;
    for (std::size_t begin = 0, end; begin < text.size(); begin = end, ++document) {
        end = text.find('\n', begin) + 1;
        if (document % 3 == 1) third += text.substr(begin, end - begin);
    }
    write_whole(folder / "text", text);
    write_whole(folder / "third", third);
    ShardOptions options;
    const CorpusCounts expected = make_shards(folder / "third", folder / "a", options);
    options.takes = [](std::uint64_t place) { return place % 3 == 1; };
    const CorpusCounts counts = make_shards(folder / "text", folder / "b", options);
    EXPECT_EQ(counts.documents, expected.documents);
    EXPECT_EQ(counts.words, expected.words);
    EXPECT_EQ(all_tokens(TokenDataset(folder / "b")), all_tokens(TokenDataset(folder / "a")));
}

TEST(TokenShards, HoldEveryDocumentAndItsCounts) {
    const TemporaryFolder folder;
    const std::string text = some_text();
    write_whole(folder / "text", text);
    const Expected expected(text);
    const CorpusCounts counts = make_shards(folder / "text", folder / "one", {});
    for (std::uint64_t shard_tokens : {std::uint64_t{1} << 26, std::uint64_t{4096}, std::uint64_t{1000}}) {
        const std::filesystem::path made = folder / ("shards-" + std::to_string(shard_tokens));
        EXPECT_EQ(make_shards(folder / "text", made, {.shard_tokens = shard_tokens}), counts);
        const TokenDataset dataset(made);
        EXPECT_EQ(dataset.shard_count(), (expected.tokens.size() + shard_tokens - 1) / shard_tokens);
        EXPECT_EQ(all_tokens(dataset), expected.tokens);
        EXPECT_EQ(dataset.counts(), counts);
        EXPECT_EQ(dataset.document_count(), 3000U);
        EXPECT_EQ(dataset.bytes(), text.size());
        EXPECT_EQ(dataset.words(), expected.words);
        EXPECT_EQ(dataset.fingerprint(), test_tokenizer().fingerprint());
        EXPECT_EQ(dataset.vocabulary_size(), test_tokenizer().vocabulary_size());
        EXPECT_EQ(dataset.tokenizer_json(), read_whole(made / "tokenizer.json"));
        EXPECT_EQ(dataset.end_of_text(), test_tokenizer().end_of_text());
        std::vector<std::uint64_t> starts;
        for (std::size_t shard = 0; shard < dataset.shard_count(); ++shard) {
            const auto of_shard = dataset.document_starts(shard);
            starts.insert(starts.end(), of_shard.begin(), of_shard.end());
        }
        EXPECT_EQ(starts, expected.starts);
    }
}

TEST(TokenShards, BytesDoNotDependOnThreads) {
    const TemporaryFolder folder;
    write_whole(folder / "text", some_text());
    std::vector<std::string> first;
    for (int threads : {1, 2, 3}) {
        const std::filesystem::path made = folder / std::to_string(threads);
        make_shards(folder / "text", made, {.shard_tokens = 5000, .threads = threads});
        std::vector<std::string> files;
        for (std::size_t shard = 0; shard < TokenDataset(made).shard_count(); ++shard)
            files.push_back(read_whole(made / shard_name(shard)));
        if (first.empty()) first = files;
        EXPECT_GT(files.size(), 2U);
        EXPECT_TRUE(files == first) << threads;
    }
}

TEST(TokenShards, UseTheSmallestType) {
    EXPECT_EQ(token_type(256), ElementType::u8);
    EXPECT_EQ(token_type(257), ElementType::u16);
    EXPECT_EQ(token_type(65536), ElementType::u16);
    EXPECT_EQ(token_type(65537), ElementType::u32);
}

TEST(TokenShards, ADocumentMayBeLongerThanManyShards) {
    const TemporaryFolder folder;
    write_whole(folder / "text", some_text());
    make_shards(folder / "text", folder / "many", {.shard_tokens = 700}, {.documents = DocumentUnit::file});
    const TokenDataset dataset(folder / "many");
    EXPECT_EQ(dataset.document_count(), 1U);
    std::vector<Token> expected = test_tokenizer().encode(some_text());
    expected.push_back(test_tokenizer().end_of_text());
    EXPECT_EQ(all_tokens(dataset), expected);
    EXPECT_TRUE(dataset.document_starts(1).empty());
    EXPECT_EQ(TokenDataset(folder / "many" / shard_name(1)).token_count(), 700U);
}

TEST(TokenDataset, ReadsWindowsAtAnyPlace) {
    const TemporaryFolder folder;
    write_whole(folder / "text", some_text());
    make_shards(folder / "text", folder / "shards", {.shard_tokens = 1000});
    const TokenDataset dataset(folder / "shards");
    const std::vector<Token> expected = all_tokens(dataset);
    std::mt19937 random(1);
    for (int i = 0; i < 300; ++i) {
        const std::size_t first = random() % (expected.size() + 1), size = random() % (expected.size() - first + 1);
        std::vector<Token> part(size);
        dataset.read(first, part);
        EXPECT_TRUE(std::equal(part.begin(), part.end(), expected.begin() + static_cast<std::ptrdiff_t>(first)));
    }
    for (std::uint64_t length : std::vector<std::uint64_t>{1, 7, 64, 2500}) {
        const std::uint64_t windows = dataset.windows(length);
        EXPECT_LT(windows * length, expected.size());                // the last window and its last target fit,
        EXPECT_GE((windows + 1) * length + 1, expected.size() + 1);  // and no further one does
        std::vector<Token> window(length + 1);
        dataset.read_window(windows - 1, window);
        EXPECT_TRUE(std::equal(window.begin(), window.end(),
                               expected.begin() + static_cast<std::ptrdiff_t>((windows - 1) * length)));
    }
    EXPECT_EQ(dataset.windows(expected.size() - 1), 1U);
    EXPECT_THROW((void)dataset.windows(expected.size()), UsageError);
    std::vector<Token> beyond(2);
    EXPECT_THROW(dataset.read(expected.size() - 1, beyond), Error);
}

TEST(TokenShards, RefuseToReplaceAnything) {
    const TemporaryFolder folder;
    write_whole(folder / "text", "a line\n");
    make_shards(folder / "text", folder / "shards", {});
    const std::string before = read_whole(folder / "shards" / shard_name(0));
    write_whole(folder / "text", "another line\n");
    EXPECT_THROW(make_shards(folder / "text", folder / "shards", {}), UsageError);
    EXPECT_THROW(make_shards(folder / "text", folder.path() / "shards" / ".", {}), UsageError);
    EXPECT_EQ(read_whole(folder / "shards" / shard_name(0)), before);
    make_shards(folder / "text", folder.path() / "shards" / "", {.overwrite = true});
    EXPECT_NE(read_whole(folder / "shards" / shard_name(0)), before);

    std::filesystem::create_directory(folder / "precious");
    write_whole(folder / "precious" / "thesis.tex", "years of work");
    EXPECT_THROW(make_shards(folder / "text", folder / "precious", {.overwrite = true}), UsageError);
    EXPECT_THROW(make_shards(folder / "text", folder / "text", {.overwrite = true}), UsageError);
    std::filesystem::create_directory(folder / "empty");
    EXPECT_NO_THROW(make_shards(folder / "text", folder / "empty", {}));
}

TEST(TokenShards, AFailedRunLeavesNothing) {
    const TemporaryFolder folder;
    write_whole(folder / "bad.jsonl", "{\"text\": \"x\"}\nno JSON\n");
    EXPECT_THROW(make_shards(folder / "bad.jsonl", folder / "shards", {}), UsageError);
    std::size_t entries = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path())) ++entries;
    EXPECT_EQ(entries, 1U);
}

// One thread: a forked process must not use the OpenMP threads of its parent.
[[noreturn]] void fill_the_disk(const std::filesystem::path& text, const std::filesystem::path& shards) {
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{};
    limit.rlim_cur = limit.rlim_max = 50000;
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::string message = message_of<Error>([&] { make_shards(text, shards, {.threads = 1}); });
    std::fprintf(stderr, "%s\n", message.c_str());
    const auto entries = std::filesystem::directory_iterator(shards.parent_path());
    ::_exit(!message.empty() && std::distance(begin(entries), end(entries)) == 1 ? 0 : 1);
}

TEST(TokenShards, AFullDiskIsAnErrorAndLeavesNothing) {
    const TemporaryFolder folder;
    write_whole(folder / "text", some_text());
    EXPECT_EXIT(fill_the_disk(folder / "text", folder / "shards"), testing::ExitedWithCode(0),
                "shard-00000.h5.*File too large");
}

TEST(TokenDataset, RefusesWhatIsNotWhole) {
    const TemporaryFolder folder;
    write_whole(folder / "text", some_text());
    make_shards(folder / "text", folder / "shards", {.shard_tokens = 5000});
    const auto problem = [&] { return message_of<UsageError>([&] { TokenDataset dataset(folder / "shards"); }); };
    const std::filesystem::path second = folder / "shards" / shard_name(1), third = folder / "shards" / shard_name(2);
    const std::string good = read_whole(second);

    std::string damaged = good;
    damaged[damaged.size() / 2] ^= 1;
    write_whole(second, damaged);
    EXPECT_NE(problem().find("shard-00001.h5' is damaged"), std::string::npos) << problem();
    write_whole(second, good.substr(0, good.size() / 2));
    EXPECT_NE(problem().find("shard-00001.h5' is truncated"), std::string::npos);
    EXPECT_THROW(TokenDataset(folder / "shards", SealCheck::length), UsageError);
    write_whole(second, read_whole(third));
    EXPECT_NE(problem().find("is not the continuation"), std::string::npos);
    std::filesystem::remove(second);
    EXPECT_NE(problem().find("shard-00001.h5' is missing"), std::string::npos);
    write_whole(second, good);
    EXPECT_EQ(problem(), "");

    std::size_t last = 0;
    while (std::filesystem::exists(folder / "shards" / shard_name(last + 1))) ++last;
    const std::string last_shard = read_whole(folder / "shards" / shard_name(last));
    std::filesystem::remove(folder / "shards" / shard_name(last));
    EXPECT_NE(problem().find("is missing"), std::string::npos);
    write_whole(folder / "shards" / shard_name(last), last_shard);
    write_whole(folder / "shards" / shard_name(last + 1), last_shard);
    EXPECT_NE(problem().find("does not belong"), std::string::npos);

    EXPECT_THROW(TokenDataset(folder / "missing"), UsageError);
    EXPECT_THROW(TokenDataset(folder.path()), UsageError);
    EXPECT_THROW(TokenDataset(folder / "text"), UsageError);
}

TEST(TokenDataset, RefusesATokenBeyondTheVocabulary) {
    const TemporaryFolder folder;
    write_whole(folder / "text", "a line\n");
    make_shards(folder / "text", folder / "shards", {});
    const std::filesystem::path shard = folder / "shards" / shard_name(0);
    {
        Hdf5File file = Hdf5File::open_to_change(shard);
        file.dataset("/tokens").write<Token>({0}, {1}, std::vector<Token>{Token(test_tokenizer().vocabulary_size())});
        file.close();
    }
    seal_file(shard, token_shard_kind);
    const TokenDataset dataset(folder / "shards");
    EXPECT_THROW(all_tokens(dataset), Error);
}

TEST(TokenShards, AreWhatTheFormatSays) {
    if (std::system("/usr/bin/python3 -c 'import h5py' 2>/dev/null") != 0)
        GTEST_SKIP() << "python3-h5py is not installed";
    const TemporaryFolder folder;
    write_whole(folder / "text", some_text());
    make_shards(folder / "text", folder / "shards", {.shard_tokens = 5000});
    const TokenDataset dataset(folder / "shards");
    std::string tokens;
    for (Token token : all_tokens(dataset)) tokens += std::to_string(token) + "\n";
    write_whole(folder / "expected", tokens);
    write_whole(folder / "check.py", R"(
import glob, h5py, json, sys, zlib
folder = sys.argv[1]
tokens, names = [], sorted(glob.glob(folder + "/shards/shard-*.h5"))
for index, name in enumerate(names):
    raw = open(name, "rb").read()
    lines = raw[:512].rstrip(b"\0").decode().split("\n")
    assert lines[:2] == ["ulmpi file 1", "kind token-shards"], lines
    assert lines[2] == "bytes %d" % len(raw) and lines[3] == "crc32 %08x" % zlib.crc32(raw[512:])
    assert lines[4] == "header_crc32 %08x" % zlib.crc32("".join(l + "\n" for l in lines[:4]).encode()) and lines[5] == ""
    with h5py.File(name, "r") as f:
        a = f.attrs
        assert a["format_version"] == 1 and a["shard"] == index and a["first_token"] == len(tokens)
        assert a["last"] == (index + 1 == len(names))
        assert f["tokens"].dtype == "<u2" and f["tokens"].fletcher32 and f["documents"].fletcher32
        assert len(f["tokens"]) == a["tokens"] and len(f["documents"]) == a["documents"]
        assert f["documents"].dtype == "<u8"
        tokens += f["tokens"][:].tolist()
        text = f["tokenizer"][()].decode()
        assert text == open(folder + "/shards/tokenizer.json").read()
        assert len(json.loads(text)["model"]["vocab"]) <= a["vocabulary_size"]
        assert len(a["tokenizer_fingerprint"]) == 16 and a["bytes"] > 0 and a["words"] > 0
        for start in f["documents"][:]:
            before = len(tokens) - int(a["tokens"]) + int(start) - 1
            assert before < 0 or tokens[before] == a["end_of_text"]
assert tokens == [int(line) for line in open(folder + "/expected")]
)");
    EXPECT_EQ(
        std::system(("/usr/bin/python3 " + (folder / "check.py").string() + " " + folder.path().string()).c_str()), 0);
}

}  // namespace
}  // namespace ulmpi
