// Oracle: naive splitting of the whole text in memory; packed and JSON forms must give what the plain text gives.

#include "data/text_reader.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "base/error.hpp"
#include "data/document_reader.hpp"
#include "tests/base/temporary_folder.hpp"
#include "tests/data/packed.hpp"

namespace ulmpi {
namespace {

using Strings = std::vector<std::string>;

Strings read_all(std::vector<std::filesystem::path> inputs, TextOptions options = {}) {
    TextReader reader(std::move(inputs), std::move(options));
    Strings documents;
    for (std::string text; text.clear(), reader.append_document(text);) documents.push_back(text);
    EXPECT_EQ(reader.bytes_taken(), reader.bytes_total());
    return documents;
}

Strings naive_lines(const std::string& text) {
    Strings lines(1);
    for (char c : text) {
        lines.back() += c;
        if (c == '\n') lines.emplace_back();
    }
    if (lines.back().empty()) lines.pop_back();
    return lines;
}

// Lines of all sorts of bytes; one of them longer than every buffer.
std::string wild_text() {
    std::mt19937 random(7);
    std::string text = "first\r\n\n\xff\xfe invalid \xc3\n";
    text += std::string("NUL \0 inside\n", 13);
    text += std::string(3'000'000, 'x') + "\n";
    for (int i = 0; i < 200'000; ++i) text += static_cast<char>(random() % 64 == 0 ? '\n' : random() % 256);
    return text + "\nlast without newline";
}

TEST(TextReader, LinesComeOutByteForByteHoweverPacked) {
    const TemporaryFolder folder;
    const std::string text = wild_text();
    const std::string_view whole(text), front = whole.substr(0, 1'000'003), back = whole.substr(front.size());
    write_whole(folder / "plain", text);
    write_whole(folder / "named.wrongly", gzipped(text));
    write_whole(folder / "members.gz", gzipped(front) + gzipped("") + gzipped(back) + std::string(512, '\0'));
    write_whole(folder / "one.zst", zstd_packed(text));
    write_whole(folder / "frames.zst", zstd_packed(front) + zstd_packed("") + zstd_packed(back));
    const Strings expected = naive_lines(text);
    for (const char* name : {"plain", "named.wrongly", "members.gz", "one.zst", "frames.zst"})
        EXPECT_TRUE(read_all({folder / name}) == expected) << name;
}

TEST(TextReader, SeveralFilesAreReadInOrder) {
    const TemporaryFolder folder;
    write_whole(folder / "a", "one\ntwo");
    write_whole(folder / "b", gzipped("three\n"));
    EXPECT_EQ(read_all({folder / "b", folder / "a", folder / "b"}), (Strings{"three\n", "one\n", "two", "three\n"}));
}

TEST(TextReader, DocumentsByBlankLineAndByFile) {
    const TemporaryFolder folder;
    write_whole(folder / "text", "\n\na\nb\n \t\r\n\nc\r\n\n\n");
    EXPECT_EQ(read_all({folder / "text"}, {.documents = DocumentUnit::blank}), (Strings{"a\nb\n", "c\r\n"}));
    write_whole(folder / "packed", gzipped("x\n\ny"));
    EXPECT_EQ(read_all({folder / "text", folder / "packed"}, {.documents = DocumentUnit::file}),
              (Strings{"\n\na\nb\n \t\r\n\nc\r\n\n\n", "x\n\ny"}));
}

TEST(TextReader, JsonLinesEqualPlainLines) {
    const TemporaryFolder folder;
    std::string plain, json;
    for (const char* line : {"plain\n", "\"quoted\" \\ and\ttab\r\n", "\xc3\xa9\xe6\xbc\xa2\xf0\x9f\x98\x80\n", "\n"}) {
        plain += line;
        json += nlohmann::json{{"id", 1}, {"text", line}, {"more", {1, 2}}}.dump() + "\n";
    }
    write_whole(folder / "plain.txt", plain);
    write_whole(folder / "by_content", json);
    write_whole(folder / "by_name.jsonl.gz", gzipped("\n" + json + "\n  \n"));
    write_whole(folder / "escaped.zst", zstd_packed("{\"body\": \"a\\u0000b\\ud83d\\ude00\"}"));
    const Strings expected = read_all({folder / "plain.txt"});
    EXPECT_EQ(read_all({folder / "by_content"}), expected);
    EXPECT_EQ(read_all({folder / "by_name.jsonl.gz"}), expected);
    EXPECT_EQ(read_all({folder / "escaped.zst"}, {.text_key = "body"}),
              Strings{std::string("a\0b\xf0\x9f\x98\x80", 7)});
    EXPECT_EQ(read_all({folder / "by_content"}, {.format = TextFormat::plain}), naive_lines(json));
    write_whole(folder / "brace.txt", "{ a line of C\n}\n");
    EXPECT_EQ(read_all({folder / "brace.txt"}).size(), 2U);
}

std::string problem(const std::filesystem::path& path, TextOptions options = {}) {
    return message_of<UsageError>([&] {
        TextReader reader({path}, options);
        for (std::string text; text.clear(), reader.append_document(text);) continue;
    });
}

TEST(TextReader, NamesFileAndLineOfBadJson) {
    const TemporaryFolder folder;
    const std::string good = "{\"text\": \"x\"}\n";
    const auto json_problem = [&](const std::string& line) {
        write_whole(folder / "bad.jsonl", good + good + line);
        return problem(folder / "bad.jsonl");
    };
    for (const char* line : {"{\"text\": \"x\"", "{\"text\": \"\xff\"}\n", "{\"text\": 5}\n", "{\"other\": \"x\"}\n",
                             "[1]\n", "plain text\n", "{\"text\": null}\n"})
        EXPECT_NE(json_problem(line).find("bad.jsonl', line 3: "), std::string::npos) << json_problem(line);
    EXPECT_NE(json_problem("{\"other\": 1}").find("--text-key"), std::string::npos);
    EXPECT_LT(json_problem(std::string(100'000, '[')).size(), 400U);
}

TEST(TextReader, RefusesWhatHoldsNoText) {
    const TemporaryFolder folder;
    write_whole(folder / "empty", "");
    write_whole(folder / "empty.gz", gzipped(""));
    write_whole(folder / "blank", "\n \n\n");
    EXPECT_NE(problem(folder / "empty").find("empty' is empty"), std::string::npos);
    EXPECT_NE(problem(folder / "empty.gz").find("holds no text"), std::string::npos);
    EXPECT_NE(problem(folder / "blank", {.documents = DocumentUnit::blank}).find("holds no text"), std::string::npos);
    EXPECT_NE(problem(folder / "missing").find("No such file"), std::string::npos);
    EXPECT_NE(problem(folder.path()).find("is a folder"), std::string::npos);
    EXPECT_THROW(TextReader({}, {}), UsageError);
    EXPECT_THROW(documents_named("word"), UsageError);
    EXPECT_THROW(text_format_named("xml"), UsageError);
}

TEST(TextReader, FindsTruncationAndDamageOfPackedFiles) {
    const TemporaryFolder folder;
    std::string text;
    for (int i = 0; i < 300; ++i) text += "line " + std::to_string(i * i) + "\n";
    const std::string gzip = gzipped(text), zstd = zstd_packed(text);
    for (std::size_t length = 2; length < gzip.size(); ++length) {
        write_whole(folder / "cut", std::string_view(gzip).substr(0, length));
        EXPECT_NE(problem(folder / "cut").find("truncated"), std::string::npos) << length;
    }
    for (std::size_t length = 4; length < zstd.size(); ++length) {
        write_whole(folder / "cut", std::string_view(zstd).substr(0, length));
        EXPECT_NE(problem(folder / "cut").find("truncated"), std::string::npos) << length;
    }
    std::mt19937 random(3);
    for (std::size_t i = 10; i < gzip.size(); ++i) {  // after the header, whose time and system may be anything
        std::string damaged = gzip;
        damaged[i] = static_cast<char>(damaged[i] ^ (1 << random() % 8));
        write_whole(folder / "damaged", damaged);
        EXPECT_FALSE(problem(folder / "damaged").empty()) << i;
    }
    write_whole(folder / "trailing", gzip + "garbage");
    EXPECT_NE(problem(folder / "trailing").find("something else follows"), std::string::npos);
}

TEST(BatchReader, HandsOutEveryDocumentOnce) {
    const TemporaryFolder folder;
    const std::string text = wild_text();
    write_whole(folder / "text", text + text);
    TextReader reader({folder / "text"}, {});
    BatchReader batches(reader);
    Strings documents;
    std::size_t count = 0;
    for (DocumentBatch batch; batches.next(batch); ++count)
        for (std::size_t i = 0; i < batch.size(); ++i) documents.emplace_back(batch[i]);
    EXPECT_TRUE(documents == naive_lines(text + text));
    EXPECT_GT(count, 1U);
}

TEST(BatchReader, PassesOnErrorsOfTheReaderAndOfTheLoop) {
    const TemporaryFolder folder;
    write_whole(folder / "bad.jsonl", "{\"text\": \"x\"}\nno JSON\n");
    TextReader reader({folder / "bad.jsonl"}, {});
    BatchReader batches(reader);
    DocumentBatch batch;
    EXPECT_THROW(batches.next(batch), UsageError);
    EXPECT_THROW(parallel_loop(2, 1000, [](std::size_t, std::size_t i) { check(i != 500, "no"); }), Error);
}

}  // namespace
}  // namespace ulmpi
