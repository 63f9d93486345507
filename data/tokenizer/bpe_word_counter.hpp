#pragma once
// Counts the words of a text, as the trainer of byte-pair encoding needs them.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/tokenizer/bpe_word.hpp"

namespace ulmpi {

/// How often each word occurs; memory grows with the distinct words only. Counters of several threads are merged: the
/// result does not depend on the order.
class WordCounter {
public:
    WordCounter() : entries_(1 << 12) {}

    /// Counts the words of `text`: one document, or a line of it with its newline. Words do not reach across calls, so
    /// where the text is cut matters.
    void add(std::string_view text);
    void add_word(std::string_view word, std::uint64_t count);
    void merge(WordCounter&& other);

    std::size_t distinct_words() const { return size_ + long_words_.size(); }

    /// Calls visit(std::string_view word, std::uint64_t count) for each distinct word, in no order.
    template <typename Visit>
    void for_each(Visit&& visit) const {
        for (const Entry& entry : entries_)
            if (entry.count != 0) visit(std::string_view(entry.word.bytes(), entry.word.length()), entry.count);
        for (const auto& [word, count] : long_words_) visit(std::string_view(word), count);
    }

private:
    struct Entry {
        PackedWord word;
        std::uint64_t count = 0;
    };
    struct Hash : std::hash<std::string_view> {
        using is_transparent = void;
    };
    void add_packed(const PackedWord& word, std::uint64_t count);
    void add_long(std::string_view word, std::uint64_t count);
    Entry& place(const PackedWord& word);
    void grow();

    std::vector<Entry> entries_;  // open addressing, linear probing, at most half full
    std::size_t size_ = 0;
    std::unordered_map<std::string, std::uint64_t, Hash, std::equal_to<>> long_words_;
};

}  // namespace ulmpi
