#pragma once
// Words that were encoded before, with their tokens.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/token.hpp"
#include "data/tokenizer/bpe_word.hpp"

namespace ulmpi {

/// A cache for one thread; it may forget, and its memory is bounded: 4 MiB for short words unless told otherwise (each
/// has one place, the last one wins), and some MiB more for long ones (dropped together when there are too many). It
/// belongs to one tokenizer at a time and empties itself when another one uses it.
class BpeCache {
public:
    /// A short word and its tokens: one line of a processor's cache.
    struct alignas(64) Entry {
        static constexpr std::size_t limit = 11;
        PackedWord word;
        std::array<Token, limit> tokens;
        std::uint32_t size;
    };

    /// 2^log2_places short words, log2_places > 0.
    explicit BpeCache(int log2_places = 16) : shift_(64 - log2_places), entries_(std::size_t{1} << log2_places) {}

    void use_for(std::uint64_t tokenizer) {
        if (tokenizer != tokenizer_) [[unlikely]]
            clear(tokenizer);
    }

    /// The place of a short word; it is there if `entry.word` equals it.
    Entry& place(const PackedWord& word) { return entries_[word.hash() >> shift_]; }

    /// The tokens of a long word; null if it is not known.
    const std::vector<Token>* find(std::string_view word) const {
        const auto found = long_words_.find(word);
        return found == long_words_.end() ? nullptr : &found->second;
    }
    void insert(std::string_view word, std::span<const Token> tokens);

private:
    static constexpr std::size_t longest_word = 128, most_long_words = std::size_t{1} << 14;

    struct Hash : std::hash<std::string_view> {
        using is_transparent = void;
    };
    void clear(std::uint64_t tokenizer);

    std::uint64_t tokenizer_ = 0;
    int shift_;
    std::vector<Entry> entries_;
    std::unordered_map<std::string, std::vector<Token>, Hash, std::equal_to<>> long_words_;
};

}  // namespace ulmpi
