#pragma once
// Learns the merges of byte-pair encoding from counted words.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "data/tokenizer/bpe_word_counter.hpp"
#include "data/tokenizer/tokenizer.hpp"

namespace ulmpi {

struct BpeTrainingOptions {
    /// Everything counts: special tokens, the 256 bytes, merges.
    std::size_t vocabulary_size = 30000;
    /// A pair is merged if it stands in the text at least so often.
    std::uint64_t min_frequency = 2;
    /// Their ids come first. Each must be a text that is never one word, as <|endoftext|> is three.
    std::vector<std::string> special_tokens{std::string(Tokenizer::end_of_text_piece)};
};

/// Sennrich et al. 2016, over bytes: starting from bytes, the most frequent pair of neighbouring tokens within a word
/// becomes a token, again and again; of equally frequent pairs the one with the smaller (left id, right id).
/// Occurrences are merged from left to right; a pair whose text is a token already is merged into that token. The bytes
/// come in the order of their characters (bpe_bytes.hpp), so that Hugging Face's trainer gives the same tokens.
///
/// The vocabulary is smaller than asked when no pair is frequent enough. The result depends on the counted words only.
/// Memory: about 8 bytes for each byte of the distinct words and 4 for each pair in them.
/// UsageError: a vocabulary smaller than bytes and special tokens, or a special token that a text could form.
Tokenizer train_bpe(const WordCounter& words, const BpeTrainingOptions& options);

}  // namespace ulmpi
