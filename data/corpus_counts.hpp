#pragma once
// How much text there is, in the units that perplexity is stated in.

#include <cstdint>
#include <string_view>

namespace ulmpi {

/// `words` as the field counts them for perplexity per word: the runs of non-space bytes, and each newline one more
/// (the end-of-line word of WikiText). Space is what C's isspace knows: ' ', \t, \n, \v, \f, \r.
struct CorpusCounts {
    std::uint64_t tokens = 0, documents = 0, bytes = 0, words = 0;

    CorpusCounts& operator+=(const CorpusCounts& other) {
        tokens += other.tokens;
        documents += other.documents;
        bytes += other.bytes;
        words += other.words;
        return *this;
    }
    friend bool operator==(const CorpusCounts&, const CorpusCounts&) = default;
};

inline std::uint64_t count_words(std::string_view text) {
    std::uint64_t words = 0;
    bool in_word = false;
    for (const char c : text) {
        const bool space = c == ' ' || (c >= '\t' && c <= '\r');
        words += static_cast<std::uint64_t>(!space && !in_word) + static_cast<std::uint64_t>(c == '\n');
        in_word = !space;
    }
    return words;
}

}  // namespace ulmpi
