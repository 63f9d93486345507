#pragma once
// The words of raw text as features: which n-grams of words a text has, which pieces of words, and how often.
//
// Words are runs of letters, digits, marks and '_', without regard to case; '?', '!' and the apostrophe are words of
// their own, and so is each character of a script that is written without spaces (Chinese, Thai, …).

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ulmpi {

/// Which features a text has.
struct NgramKinds {
    int order = 2;        ///< words of the longest n-grams of words
    bool pieces = false;  ///< besides, `least_letters` to `most_letters` letters in a row of a word with its two ends
    static constexpr std::size_t least_letters = 3, most_letters = 5;
    constexpr NgramKinds(int words, bool with_pieces = false) : order(words), pieces(with_pieces) {}
    constexpr NgramKinds() = default;
};

/// An n-gram's hash has 48 bits: among the millions of a large set hardly two are alike, and with the number of times
/// that a text has it (at most 65,535 are counted) it fits into one number.
struct CountedNgram {
    static constexpr int count_bits = 16;
    std::uint64_t packed;
    std::uint64_t hash() const { return packed >> count_bits; }
    std::uint32_t count() const { return static_cast<std::uint32_t>(packed & ((1u << count_bits) - 1)); }
};

/// The different n-grams of the text, by ascending hash. Where there are pieces, the hash of one is odd, and that of
/// words even.
std::vector<CountedNgram> count_ngrams(std::string_view text, NgramKinds kinds);

/// 1 + log(count), of a piece half of it: there are several times as many as words, and a row has one norm.
float value_of(CountedNgram gram, NgramKinds kinds);

/// Finds a hash among ascending ones.
class HashIndex {
public:
    static constexpr std::uint32_t none = ~std::uint32_t{0};
    HashIndex() = default;
    explicit HashIndex(std::vector<std::uint64_t> ascending);
    std::uint32_t find(std::uint64_t hash) const;  ///< its place, or none
    const std::vector<std::uint64_t>& hashes() const { return hashes_; }
    std::size_t bytes() const {
        return hashes_.size() * sizeof(std::uint64_t) + begins_.size() * sizeof(std::uint32_t);
    }

private:
    std::vector<std::uint64_t> hashes_;
    std::vector<std::uint32_t> begins_;  ///< of the hashes with the same leading bits; one more for the end
    int shift_ = 48;                     ///< what is left of a hash without the others are its leading bits
};

/// Texts by n-grams, as the rows of a sparse matrix.
struct WordMatrix {
    HashIndex index;                     ///< of the columns
    std::vector<std::uint64_t> starts;   ///< of each row in what follows, and the end
    std::vector<std::uint32_t> columns;  ///< ascending within a row
    std::vector<float> values;           ///< value_of each
    std::uint32_t least_texts = 1;       ///< an n-gram that fewer texts have has no column

    std::size_t rows() const { return starts.size() - 1; }
    std::span<const std::uint32_t> columns_of(std::size_t row) const {
        return std::span(columns).subspan(starts[row], starts[row + 1] - starts[row]);
    }
    std::size_t width() const { return index.hashes().size(); }
};

/// `least_texts` is raised until there are at most `most_columns`.
WordMatrix word_matrix(std::span<const std::string> texts, NgramKinds kinds, std::uint32_t least_texts,
                       std::size_t most_columns, int threads);

}  // namespace ulmpi
