// Applying merges, against the definition.

#include "data/tokenizer/bpe_merges.hpp"

#include <gtest/gtest.h>

#include "tests/data/tokenizer/bpe_reference.hpp"

namespace ulmpi {
namespace {

/// Merges of random pairs of what exists already; ranks in random order, so that not all can be reached.
std::vector<BpeMerge> random_merges(std::mt19937& random, Token alphabet, std::size_t count) {
    std::vector<BpeMerge> merges;
    for (Token next = alphabet; merges.size() < count; ++next) {
        const auto any = [&] { return static_cast<Token>(random() % static_cast<unsigned>(next)); };
        merges.push_back({any(), any(), next});
    }
    if (random() % 2) std::shuffle(merges.begin(), merges.end(), random);
    return merges;
}

TEST(BpeMerges, RandomMergesGiveTheTokensOfTheDefinition) {
    std::mt19937 random(3);
    for (int round = 0; round < 3000; ++round) {
        const auto alphabet = static_cast<Token>(1 + random() % 4);
        const BpeMerges merges(random_merges(random, alphabet, random() % 40));
        const std::size_t length = round % 3 == 0 ? 60 + random() % 200 : random() % 20;  // on both sides of 64
        std::vector<Token> word(length);
        for (Token& token : word) token = static_cast<Token>(random() % static_cast<unsigned>(alphabet));
        const std::vector<Token> expected = naive_merge(word, merges.list());
        word.resize(merges.apply(word));
        ASSERT_EQ(word, expected) << "round " << round;
    }
}

TEST(BpeMerges, LeftmostOfOverlappingPairsAndLastOfEqualMerges) {
    const BpeMerges merges({{0, 0, 1}, {1, 0, 2}, {0, 0, 3}});
    std::vector<Token> word = {0, 0, 0};
    EXPECT_EQ(merges.apply(word), 2u);
    EXPECT_EQ(word[0], 3);
    EXPECT_EQ(word[1], 0);
}

TEST(BpeMerges, NoMergesAndNoWord) {
    const BpeMerges none({});
    std::vector<Token> word = {5, 6};
    EXPECT_EQ(none.apply(word), 2u);
    EXPECT_EQ(none.apply({}), 0u);
}

TEST(BpeMerges, AWordOfMillionsOfBytesIsNoProblem) {
    std::vector<BpeMerge> doubling;  // 0 0 -> 1, 1 1 -> 2, ...
    for (Token token = 0; token < 10; ++token) doubling.push_back({token, token, token + 1});
    const BpeMerges merges(doubling);
    std::vector<Token> word((1 << 21) + 5, 0);
    word.resize(merges.apply(word));
    ASSERT_EQ(word.size(), 2048u + 2);
    EXPECT_EQ(word[0], 10);
    EXPECT_EQ(word[2048], 2);
    EXPECT_EQ(word[2049], 0);
}

}  // namespace
}  // namespace ulmpi
