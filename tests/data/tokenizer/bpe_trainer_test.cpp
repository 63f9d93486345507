// Counting words and learning merges, against the definition.

#include "data/tokenizer/bpe_trainer.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.hpp"
#include "data/tokenizer/bpe_bytes.hpp"
#include "data/tokenizer/pre_tokenizer.hpp"
#include "tests/data/tokenizer/bpe_reference.hpp"

namespace ulmpi {
namespace {

using Counts = std::map<std::string, std::uint64_t>;

Counts naive_count(const std::vector<std::string>& texts) {
    Counts counts;
    for (const std::string& text : texts)
        for (std::size_t begin = 0; begin < text.size();) {
            const std::size_t end = end_of_word(text, begin);
            ++counts[text.substr(begin, end - begin)];
            begin = end;
        }
    return counts;
}

Counts counts_of(const WordCounter& words) {
    Counts counts;
    words.for_each([&](std::string_view word, std::uint64_t count) { counts[std::string(word)] += count; });
    return counts;
}

/// Counts all pairs anew for every merge.
Vocabulary naive_train(const Counts& counts, const BpeTrainingOptions& options) {
    Vocabulary vocabulary;
    std::map<std::string, Token> ids;
    const auto add = [&](const std::string& piece, bool special) {
        if (!ids.emplace(piece, static_cast<Token>(vocabulary.pieces.size())).second) return;
        vocabulary.pieces.push_back(piece);
        vocabulary.special.push_back(special);
    };
    for (const std::string& piece : options.special_tokens) add(piece, true);
    std::vector<std::string> bytes;
    for (int byte = 0; byte < 256; ++byte) bytes.push_back(byte_level_character(static_cast<unsigned char>(byte)));
    std::sort(bytes.begin(), bytes.end());
    for (const std::string& piece : bytes) add(piece, false);

    std::vector<std::pair<std::vector<Token>, std::uint64_t>> words;
    for (const auto& [word, count] : counts) {
        std::vector<Token> tokens;
        for (const char byte : word) tokens.push_back(ids.at(byte_level_character(static_cast<unsigned char>(byte))));
        words.emplace_back(tokens, count);
    }
    while (vocabulary.pieces.size() < options.vocabulary_size) {
        std::map<std::pair<Token, Token>, std::uint64_t> pairs;
        for (const auto& [word, count] : words)
            for (std::size_t i = 0; i + 1 < word.size(); ++i) pairs[{word[i], word[i + 1]}] += count;
        const auto best = std::max_element(pairs.begin(), pairs.end(),  // the first of equal ones, so the smallest pair
                                           [](const auto& a, const auto& b) { return a.second < b.second; });
        if (best == pairs.end() || best->second < std::max<std::uint64_t>(1, options.min_frequency)) break;
        const auto [left, right] = best->first;
        const std::string piece =
            vocabulary.pieces[static_cast<std::size_t>(left)] + vocabulary.pieces[static_cast<std::size_t>(right)];
        add(piece, false);
        vocabulary.merges.push_back({left, right, ids.at(piece)});
        for (auto& [word, count] : words)
            for (std::size_t i = 0; i + 1 < word.size(); ++i)
                if (word[i] == left && word[i + 1] == right) {
                    word[i] = ids.at(piece);
                    word.erase(word.begin() + static_cast<std::ptrdiff_t>(i) + 1);
                }
    }
    return vocabulary;
}

void expect_same_training(const std::vector<std::string>& texts, const BpeTrainingOptions& options) {
    WordCounter words;
    for (const std::string& text : texts) words.add(text);
    const Tokenizer tokenizer = train_bpe(words, options);
    const Vocabulary expected = naive_train(naive_count(texts), options);
    ASSERT_EQ(tokenizer.vocabulary().pieces, expected.pieces);
    ASSERT_EQ(tokenizer.vocabulary().special, expected.special);
    ASSERT_EQ(tokenizer.vocabulary().merges, expected.merges);
}

TEST(BpeTrainer, SmallRandomCorporaGiveTheMergesOfTheDefinition) {
    std::mt19937 random(4);
    // Few letters: many ties and overlapping pairs.
    const std::vector<std::vector<std::string>> alphabets = {
        {"a", "b", " "}, {"a", "a", "a", "b", "c", "."}, {"a", "é", "\xff", "\xfe", "1", " ", "\n"}};
    for (int round = 0; round < 300; ++round) {
        std::vector<std::string> texts(1 + random() % 5);
        for (std::string& text : texts)
            text = random_text(random, alphabets[random() % alphabets.size()], random() % 120);
        BpeTrainingOptions options;
        options.vocabulary_size = 257 + random() % 120;
        options.min_frequency = random() % 4;
        expect_same_training(texts, options);
        if (HasFatalFailure()) return;
    }
}

TEST(BpeTrainer, RealTextGivesTheMergesOfTheDefinition) {
    ULMPI_NEED_TEST_DATA("multi30k/raw/val.de.gz");
    BpeTrainingOptions options;
    options.vocabulary_size = 600;
    expect_same_training({read_test_data(test_data() / "multi30k/raw/val.de.gz")}, options);
}

TEST(BpeTrainer, StopsWhereNoPairIsFrequentEnough) {
    BpeTrainingOptions options;
    options.vocabulary_size = 1000;
    WordCounter none;
    EXPECT_EQ(train_bpe(none, options).vocabulary_size(), 257u);
    WordCounter one;
    one.add("the the cat");
    const Tokenizer tokenizer = train_bpe(one, options);  // "t h", "th e": twice each
    EXPECT_EQ(tokenizer.vocabulary().merges.size(), 2u);
    EXPECT_EQ(tokenizer.end_of_text(), 0);
}

TEST(BpeTrainer, RefusesWhatCannotBeTrained) {
    WordCounter words;
    words.add("some text");
    EXPECT_THROW(train_bpe(words, {.vocabulary_size = 256}), UsageError);
    EXPECT_NO_THROW(train_bpe(words, {.vocabulary_size = 257}));
    EXPECT_THROW(train_bpe(words, {.vocabulary_size = std::size_t{1} << 40}), UsageError);
    EXPECT_THROW(train_bpe(words, {.vocabulary_size = 300, .special_tokens = {"text"}}), UsageError);
    EXPECT_THROW(train_bpe(words, {.vocabulary_size = 300, .special_tokens = {"Ġtext"}}), UsageError);
    EXPECT_THROW(train_bpe(words, {.vocabulary_size = 300, .special_tokens = {""}}), UsageError);
    EXPECT_THROW(train_bpe(words, {.vocabulary_size = 300, .special_tokens = {"<s>", "<s>"}}), UsageError);
    EXPECT_NO_THROW(train_bpe(words, {.vocabulary_size = 300, .special_tokens = {"<s>", "[PAD]", "<|end|>"}}));
}

TEST(WordCounter, CountsAsAMapDoesInAnyNumberOfParts) {
    std::mt19937 random(6);
    std::vector<std::string> alphabet = {
        " ", " ", "\n", "é", "\xff", std::string(1, '\0'), "longer-than-that", "abcdefghijklmnop"};
    for (char letter = 'a'; letter <= 'z'; ++letter) alphabet.push_back(std::string(1, letter));
    std::vector<std::string> texts;
    for (int i = 0; i < 400; ++i) texts.push_back(random_text(random, alphabet, random() % 400));
    WordCounter whole;
    std::vector<WordCounter> parts(3);
    for (const std::string& text : texts) {
        whole.add(text);
        parts[random() % parts.size()].add(text);
    }
    const Counts expected = naive_count(texts);
    EXPECT_EQ(counts_of(whole), expected);
    EXPECT_EQ(whole.distinct_words(), expected.size());
    WordCounter merged;
    for (WordCounter& part : parts) {
        merged.merge(std::move(part));
        EXPECT_EQ(part.distinct_words(), 0u);
    }
    EXPECT_EQ(counts_of(merged), expected);
    EXPECT_EQ(train_bpe(merged, {.vocabulary_size = 500}).fingerprint(),
              train_bpe(whole, {.vocabulary_size = 500}).fingerprint());
}

}  // namespace
}  // namespace ulmpi
