#include "data/tokenizer/bpe_word_counter.hpp"

#include <utility>

#include "data/tokenizer/pre_tokenizer.hpp"

namespace ulmpi {

void WordCounter::add(std::string_view text) {
    const char* const end = text.data() + text.size();
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t length = end_of_word(text, begin) - begin;
        if (length <= PackedWord::limit) {
            add_packed(pack_word(text.data() + begin, length, end), 1);
        } else {
            add_long(text.substr(begin, length), 1);
        }
        begin += length;
    }
}

void WordCounter::add_word(std::string_view word, std::uint64_t count) {
    if (word.empty() || count == 0) return;
    if (word.size() <= PackedWord::limit) {
        add_packed(pack_word(word.data(), word.size(), word.data() + word.size()), count);
    } else {
        add_long(word, count);
    }
}

void WordCounter::merge(WordCounter&& other) {
    if (other.distinct_words() > distinct_words()) std::swap(*this, other);
    other.for_each([&](std::string_view word, std::uint64_t count) { add_word(word, count); });
    other = WordCounter();
}

WordCounter::Entry& WordCounter::place(const PackedWord& word) {
    std::size_t at = word.hash() & (entries_.size() - 1);
    while (entries_[at].count != 0 && entries_[at].word != word) at = (at + 1) & (entries_.size() - 1);
    return entries_[at];
}

void WordCounter::add_packed(const PackedWord& word, std::uint64_t count) {
    Entry& entry = place(word);
    const bool fresh = entry.count == 0;
    entry.word = word;
    entry.count += count;
    if (fresh && ++size_ * 2 > entries_.size()) grow();
}

void WordCounter::add_long(std::string_view word, std::uint64_t count) {
    const auto found = long_words_.find(word);
    if (found != long_words_.end()) {
        found->second += count;
    } else {
        long_words_.emplace(word, count);
    }
}

void WordCounter::grow() {
    const std::vector<Entry> old = std::exchange(entries_, std::vector<Entry>(entries_.size() * 2));
    for (const Entry& entry : old)
        if (entry.count != 0) place(entry.word) = entry;
}

}  // namespace ulmpi
