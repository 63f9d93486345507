#pragma once
// Byte-pair encoding as its definition reads, without any thought of speed; and the real data of the tests.

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/token.hpp"
#include "data/tokenizer/bpe_merges.hpp"

namespace ulmpi {

/// At each step, of all neighbours that have a rank, the lowest rank, leftmost, is merged.
inline std::vector<Token> naive_merge(std::vector<Token> word, const std::vector<BpeMerge>& merges) {
    std::map<std::pair<Token, Token>, std::size_t> ranks;
    for (std::size_t rank = 0; rank < merges.size(); ++rank) ranks[{merges[rank].left, merges[rank].right}] = rank;
    while (true) {
        std::size_t best = merges.size(), where = 0;
        for (std::size_t i = 0; i + 1 < word.size(); ++i) {
            const auto found = ranks.find({word[i], word[i + 1]});
            if (found != ranks.end() && found->second < best) {
                best = found->second;
                where = i;
            }
        }
        if (best == merges.size()) return word;
        word[where] = merges[best].merged;
        word.erase(word.begin() + static_cast<std::ptrdiff_t>(where) + 1);
    }
}

/// `count` of the symbols of `alphabet`, drawn at random.
inline std::string random_text(std::mt19937& random, const std::vector<std::string>& alphabet, std::size_t count) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += alphabet[random() % alphabet.size()];
    return text;
}

/// Texts that do not come with the source: ULMPI_TEST_DATA, or beside the source. Tests that need them skip where they
/// are absent.
inline std::filesystem::path test_data() {
    if (const char* folder = std::getenv("ULMPI_TEST_DATA")) return folder;
    return std::filesystem::path(__FILE__).parent_path().parent_path().parent_path().parent_path() / "shared" / "data";
}

/// The bytes of a file, unpacked if it is gzip.
inline std::string read_test_data(const std::filesystem::path& path) {
    std::string text;
    const gzFile file = gzopen(path.c_str(), "rb");
    if (!file) throw std::runtime_error("cannot read " + path.string());
    std::vector<char> block(1 << 16);
    for (int got = 0; (got = gzread(file, block.data(), static_cast<unsigned>(block.size()))) > 0;)
        text.append(block.data(), static_cast<std::size_t>(got));
    gzclose(file);
    return text;
}

/// Calls visit(line) for every line, its newline included.
template <typename Visit>
void for_each_line(std::string_view text, Visit&& visit) {
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t newline = text.find('\n', begin);
        const std::size_t end = newline == std::string_view::npos ? text.size() : newline + 1;
        visit(text.substr(begin, end - begin));
        begin = end;
    }
}

}  // namespace ulmpi

/// Skips the test where the file or folder of the test data is absent.
#define ULMPI_NEED_TEST_DATA(name)                                      \
    if (!std::filesystem::exists(ulmpi::test_data() / (name)))          \
    GTEST_SKIP() << (ulmpi::test_data() / (name)).string()              \
                 << " is absent; set ULMPI_TEST_DATA to the folder of " \
                    "the test data"
