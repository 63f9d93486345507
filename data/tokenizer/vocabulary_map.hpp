#pragma once
// The tokens of one vocabulary in terms of another's: how a model takes over a tokenizer that it was not trained with.

#include <cstddef>
#include <vector>

#include "base/token.hpp"
#include "data/tokenizer/tokenizer.hpp"

namespace ulmpi {

struct VocabularyMap {
    std::size_t from_size = 0;  ///< tokens of the other vocabulary
    /// By token: that of the other vocabulary that stands for the same bytes (or special token), else those that spell
    /// its bytes there; none for a special token that the other lacks.
    std::vector<std::vector<Token>> sources;

    std::size_t size() const { return sources.size(); }
    bool known(Token token) const { return sources[static_cast<std::size_t>(token)].size() == 1; }
    std::size_t known_count() const;
};

/// Pure.
VocabularyMap map_vocabulary(const Tokenizer& from, const Tokenizer& to);

}  // namespace ulmpi
