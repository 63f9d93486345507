#include "data/shared_runs.hpp"

#include <gtest/gtest.h>

#include "base/random_key.hpp"

namespace ulmpi {
namespace {

// By every run of one against every run of the other.
bool share_a_run(const std::string& a, const std::string& b, std::size_t length) {
    const std::u32string one = letters_and_digits(a), other = letters_and_digits(b);
    for (std::size_t i = 0; i + length <= one.size(); ++i)
        if (other.find(one.substr(i, length)) != std::u32string::npos) return true;
    return false;
}

// Of few letters, so that runs of middling length are found by chance.
std::string random_text(std::uint64_t seed, std::size_t most) {
    std::string text;
    for (std::size_t i = 0; i < random_key(seed, 0) % (most + 1); ++i) {
        static constexpr std::string_view letters = "abAB, ";
        text += letters[random_key(seed, i + 1) % letters.size()];
    }
    return text;
}

TEST(SharedRunsTest, AreThoseOfThePlainLoops) {
    for (std::size_t length : {1u, 2u, 3u, 7u, 12u}) {
        std::vector<std::string> texts, others;
        for (std::uint64_t i = 0; i < 60; ++i) texts.push_back(random_text(i, 40));
        for (std::uint64_t i = 0; i < 25; ++i) others.push_back(random_text(1000 + i, 60));
        SharedRuns runs(texts, length);
        for (const std::string& other : others) runs.read(other);
        std::size_t count = 0;
        for (std::size_t i = 0; i < texts.size(); ++i) {
            bool expected = false;
            for (const std::string& other : others) expected = expected || share_a_run(texts[i], other, length);
            EXPECT_EQ(runs.found()[i], expected) << length << ": " << texts[i];
            count += expected;
        }
        EXPECT_EQ(runs.count(), count);
        EXPECT_TRUE(length > 7 || count > 0);
        EXPECT_TRUE(length < 7 || count < texts.size());
    }
}

TEST(SharedRunsTest, OfFiftyWhateverLiesBetweenTheLetters) {
    const std::string fifty = "It was the best of times, it was the worst of times, it was the ages";  // 51 letters
    SharedRuns runs(std::vector<std::string>{"He said: " + fifty + " of wisdom", fifty.substr(3), "", "ÉTÉ " + fifty});
    runs.read("IT WAS THE BEST-OF-TIMES; it was the worst of times? It was the age");
    EXPECT_EQ(runs.found(), (std::vector<bool>{true, false, false, true}));
    EXPECT_EQ(letters_and_digits("É-t\xcc\x81 ß 1½\xff!"), U"etss112");
}

TEST(SharedRunsTest, TextsOfOneLetterTakeNoLongerThanOthers) {
    const std::vector<std::string> texts(200, std::string(20000, 'a'));
    SharedRuns runs(texts);
    runs.read(std::string(1000000, 'a'));
    EXPECT_EQ(runs.count(), texts.size());
}

}  // namespace
}  // namespace ulmpi
