#include "data/tokenizer/bpe_cache.hpp"

#include <algorithm>

namespace ulmpi {

void BpeCache::insert(std::string_view word, std::span<const Token> tokens) {
    if (word.size() > longest_word) return;
    if (long_words_.size() >= most_long_words) long_words_.clear();
    long_words_.emplace(word, std::vector<Token>(tokens.begin(), tokens.end()));
}

void BpeCache::clear(std::uint64_t tokenizer) {
    std::fill(entries_.begin(), entries_.end(), Entry{});
    long_words_.clear();
    tokenizer_ = tokenizer;
}

}  // namespace ulmpi
