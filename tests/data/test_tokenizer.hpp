#pragma once
// A small tokenizer for tests that need any.

#include "data/tokenizer/bpe_trainer.hpp"

namespace ulmpi {

inline Tokenizer test_tokenizer(std::size_t vocabulary_size = 300) {
    WordCounter words;
    for (const char* line : {"the cat sat on a mat.\n", "the cat and the mat\n", "what is on the mat?\n"})
        words.add(line);
    return train_bpe(words, {.vocabulary_size = vocabulary_size, .min_frequency = 1});
}

}  // namespace ulmpi
