// Vocabularies in terms of one another. The oracle is the bytes: what a token's sources spell is what it spells.

#include "data/tokenizer/vocabulary_map.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include <algorithm>
#include <random>

#include "data/tokenizer/bpe_trainer.hpp"
#include "tests/data/tokenizer/bpe_reference.hpp"

namespace ulmpi {
namespace {

Tokenizer trained(const std::vector<std::string>& alphabet, std::size_t size, std::vector<std::string> specials) {
    std::mt19937 random(5);
    WordCounter words;
    for (int line = 0; line < 300; ++line) words.add(random_text(random, alphabet, 40));
    return train_bpe(words, {.vocabulary_size = size, .min_frequency = 1, .special_tokens = std::move(specials)});
}

const std::vector<std::string> english{"the", " cat", " sat", " on", "ing", " mat", "s", " é"},
    german{"die", " Katze", " sat", " on", "ung", " Matte", "s", " é", "\xff"};

TEST(VocabularyMap, SourcesSpellTheToken) {
    const Tokenizer from = trained(english, 400, {"<|endoftext|>"}),
                    to = trained(german, 420, {"<|pad|>", "<|endoftext|>"});
    const VocabularyMap map = map_vocabulary(from, to);
    EXPECT_EQ(map.from_size, from.vocabulary_size());
    ASSERT_EQ(map.size(), to.vocabulary_size());
    std::size_t known = 0, spelt = 0;
    for (std::size_t id = 0; id < map.size(); ++id) {
        const auto token = static_cast<Token>(id);
        if (to.vocabulary().special[id]) continue;
        EXPECT_EQ(from.decode(map.sources[id]), to.decode({&token, 1})) << id;
        (map.known(token) ? known : spelt) += 1;
        // One source exactly where the other vocabulary has the same bytes.
        const auto& theirs = from.vocabulary().pieces;
        EXPECT_EQ(map.known(token), std::ranges::count(theirs, to.vocabulary().pieces[id]) == 1) << id;
    }
    EXPECT_GE(known, 256U);
    EXPECT_GT(spelt, 0U);
    EXPECT_EQ(map.sources[static_cast<std::size_t>(to.end_of_text())], std::vector<Token>{from.end_of_text()});
    EXPECT_TRUE(map.sources[0].empty());  // <|pad|>
    EXPECT_EQ(map.known_count(), known + 1);
}

TEST(VocabularyMap, OfAVocabularyToItselfIsTheIdentity) {
    const Tokenizer tokenizer = trained(english, 400, {"<|endoftext|>"});
    const VocabularyMap map = map_vocabulary(tokenizer, tokenizer);
    for (std::size_t id = 0; id < map.size(); ++id)
        EXPECT_EQ(map.sources[id], std::vector<Token>{static_cast<Token>(id)});
}

}  // namespace
}  // namespace ulmpi
