// Encoding and decoding, and GPT-2's published vectors.

#include "data/tokenizer/tokenizer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.hpp"
#include "data/tokenizer/bpe_bytes.hpp"
#include "data/tokenizer/bpe_trainer.hpp"
#include "data/tokenizer/pre_tokenizer.hpp"
#include "tests/data/tokenizer/bpe_reference.hpp"

namespace ulmpi {
namespace {

Tokenizer trained_on(const std::string& text, std::size_t vocabulary_size) {
    WordCounter words;
    words.add(text);
    return train_bpe(words, {.vocabulary_size = vocabulary_size, .min_frequency = 1});
}

const std::string sample_text =
    "The quick brown fox doesn't jump; it's the lazy dog's turn.\n\n  Straße, naïve café, 中文字符, 😀😀 123 456 1234!!! "
    "the the the fox fox foxes antidisestablishmentarianism antidisestablishmentarianism\n";

const Tokenizer& gpt2() {
    static const Tokenizer tokenizer = Tokenizer::load(test_data() / "tokenizers/gpt2");
    return tokenizer;
}

TEST(Tokenizer, GivesGpt2sTokensForThePublishedVectors) {
    ULMPI_NEED_TEST_DATA("tokenizers/gpt2");
    EXPECT_EQ(gpt2().vocabulary_size(), 50257u);
    EXPECT_EQ(gpt2().end_of_text(), 50256);
    std::istringstream lines(read_test_data(test_data() / "tokenizers/gpt2/vectors.jsonl"));
    int compared = 0;
    for (std::string line; std::getline(lines, line); ++compared) {
        const auto vector = nlohmann::json::parse(line);
        const auto text = vector["text"].get<std::string>();
        const auto tokens = gpt2().encode(text);
        EXPECT_EQ(tokens, vector["ids"].get<std::vector<Token>>()) << vector["text"];
        EXPECT_EQ(gpt2().decode(tokens), text);
    }
    EXPECT_EQ(compared, 53);
}

TEST(Tokenizer, GivesGpt2sTokensForTheGgufVectors) {
    ULMPI_NEED_TEST_DATA("tokenizers/gpt2");
    std::string texts = read_test_data(test_data() / "tokenizers/gpt2/ggml-vocab-gpt-2.gguf.inp");
    std::istringstream answers(read_test_data(test_data() / "tokenizers/gpt2/ggml-vocab-gpt-2.gguf.out"));
    const std::string separator = "\n__ggml_vocab_test__\n";
    int compared = 0;
    for (std::string line; std::getline(answers, line); ++compared) {
        const std::size_t end = texts.find(separator);
        ASSERT_NE(end, std::string::npos);
        std::istringstream numbers(line);
        std::vector<Token> expected;
        for (Token token = 0; numbers >> token;) expected.push_back(token);
        EXPECT_EQ(gpt2().encode(texts.substr(0, end)), expected) << texts.substr(0, end);
        texts.erase(0, end + separator.size());
    }
    EXPECT_EQ(compared, 46);
}

std::size_t count_line_by_line(const std::string& text) {
    BpeCache cache;
    std::vector<Token> tokens;
    std::size_t count = 0;
    for_each_line(text, [&](std::string_view line) {
        tokens.clear();
        gpt2().encode(line, tokens, cache);
        count += tokens.size();
    });
    return count;
}

TEST(Tokenizer, GivesGpt2sCountOnWikiText2) {
    ULMPI_NEED_TEST_DATA("tokenizers/gpt2");
    ULMPI_NEED_TEST_DATA("wikitext-2/train.txt.gz");
    EXPECT_EQ(count_line_by_line(read_test_data(test_data() / "wikitext-2/train.txt.gz")), 2448382u);
}

TEST(Tokenizer, GivesGpt2sCountOnImdb) {
    ULMPI_NEED_TEST_DATA("tokenizers/gpt2");
    ULMPI_NEED_TEST_DATA("imdb/train.tsv.gz");
    std::string text;
    bool header = true;
    for_each_line(read_test_data(test_data() / "imdb/train.tsv.gz"), [&](std::string_view line) {
        if (!header) text += line.substr(line.find('\t') + 1);
        header = false;
    });
    EXPECT_EQ(count_line_by_line(text), 7516839u);
}

/// Words by the scanner, each merged by the definition.
std::vector<Token> naive_encode(const Tokenizer& tokenizer, std::string_view text) {
    const std::vector<std::string>& pieces = tokenizer.vocabulary().pieces;
    std::vector<Token> tokens;
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = end_of_word(text, begin);
        std::vector<Token> word;
        for (const char byte : text.substr(begin, end - begin)) {
            const auto found = std::find(pieces.begin(), pieces.end(), to_byte_level({&byte, 1}));
            word.push_back(static_cast<Token>(found - pieces.begin()));
        }
        for (const Token token : naive_merge(word, tokenizer.vocabulary().merges)) tokens.push_back(token);
        begin = end;
    }
    return tokens;
}

TEST(Tokenizer, OneCacheForAllTextsGivesTheTokensOfTheDefinition) {
    const Tokenizer tokenizer = trained_on(sample_text, 330), other = trained_on("an other text, other tokens", 290);
    std::mt19937 random(7);
    std::vector<std::string> alphabet = {" ", " ", "the", "fox", "é", "😀", "中", "\xff", "antidisestablishment"};
    for (const char letter : std::string("abcdefghijt'!1\n")) alphabet.push_back(std::string(1, letter));
    BpeCache cache;
    for (int round = 0; round < 300; ++round) {
        const std::string text = random_text(random, alphabet, random() % 60);
        const Tokenizer& user = round % 50 == 49 ? other : tokenizer;  // a cache may change hands
        std::vector<Token> tokens = {-7};
        user.encode(text, tokens, cache);
        ASSERT_EQ(tokens.front(), -7) << "encode appends";
        tokens.erase(tokens.begin());
        ASSERT_EQ(tokens, naive_encode(user, text));
    }
}

TEST(Tokenizer, AnyBytesSurviveARoundTrip) {
    const Tokenizer tokenizer = trained_on(sample_text, 330);
    std::mt19937 random(8);
    BpeCache cache;
    for (int round = 0; round < 500; ++round) {
        std::string text(random() % 3000, '\0');
        for (char& byte : text) byte = static_cast<char>(random());
        std::vector<Token> tokens;
        tokenizer.encode(text, tokens, cache);
        ASSERT_EQ(tokenizer.decode(tokens), text);
    }
    for (const std::string& text : {std::string(), std::string(1000, '\0'), std::string("\xF0\x9F\x98"), sample_text,
                                    std::string("\xEF\xBB\xBF a\r\n"), std::string(100000, 'f')})
        EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
}

TEST(Tokenizer, TheNameOfASpecialTokenInTextIsText) {
    const Tokenizer tokenizer = trained_on("<|endoftext|><|endoftext|><|endoftext|>", 300);
    const auto tokens = tokenizer.encode("a<|endoftext|>b <|endoftext|>");
    EXPECT_EQ(std::count(tokens.begin(), tokens.end(), tokenizer.end_of_text()), 0);
    EXPECT_EQ(tokenizer.decode(tokens), "a<|endoftext|>b <|endoftext|>");
    EXPECT_EQ(tokenizer.decode(std::vector<Token>{tokenizer.end_of_text()}), "<|endoftext|>");
}

TEST(Tokenizer, DecodeRefusesTokensBeyondTheVocabulary) {
    const Tokenizer tokenizer = trained_on("", 257);
    EXPECT_THROW(tokenizer.decode(std::vector<Token>{257}), Error);
    EXPECT_THROW(tokenizer.decode(std::vector<Token>{-1}), Error);
}

}  // namespace
}  // namespace ulmpi
