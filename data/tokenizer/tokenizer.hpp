#pragma once
// Byte-level byte-pair encoding: text to tokens and back, in the files of Hugging Face and of GPT-2.

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/token.hpp"
#include "data/tokenizer/bpe_cache.hpp"
#include "data/tokenizer/bpe_merges.hpp"

namespace ulmpi {

/// What a tokenizer is made of. `pieces[id]` is the token as files write it: a special token's own text, and every
/// other token in GPT-2's alphabet of bytes (bpe_bytes.hpp).
struct Vocabulary {
    std::vector<std::string> pieces;
    std::vector<bool> special;  // by id
    std::vector<BpeMerge> merges;
};

/// Immutable; threads may share one, each with a BpeCache of its own.
class Tokenizer {
public:
    static constexpr std::string_view end_of_text_piece = "<|endoftext|>";

    /// Reads a tokenizer.json, or a folder with tokenizer.json, or with vocab.json or encoder.json beside merges.txt or
    /// vocab.bpe. UsageError, naming the file, where it is missing, malformed, or holds a kind of tokenizer that is not
    /// byte-level BPE as GPT-2 has it. Truncation and padding settings of a file are not its encoding and are ignored.
    static Tokenizer load(const std::filesystem::path& path);

    /// `origin` names the source in messages.
    static Tokenizer from_json(std::string_view json, const std::string& origin);

    /// UsageError, which begins with `origin`, where a byte has no token, a merge names no token or does not join its
    /// parts, or text could become a special token.
    Tokenizer(Vocabulary vocabulary, const std::string& origin);

    /// Appends the tokens of `text`, any bytes. The name of a special token in the text is text, not the token.
    void encode(std::string_view text, std::vector<Token>& out, BpeCache& cache) const;

    /// For a text now and then; many are faster with a cache that stays.
    std::vector<Token> encode(std::string_view text) const;

    /// The bytes that the tokens stand for; a special token gives its name. Error for an id beyond the vocabulary.
    std::string decode(std::span<const Token> tokens) const;

    std::size_t vocabulary_size() const { return vocabulary_.pieces.size(); }

    /// The id of <|endoftext|>; UsageError if the vocabulary lacks it.
    Token end_of_text() const;

    /// A hash of vocabulary, special tokens and merges; it does not depend on the files' formatting.
    std::uint64_t fingerprint() const { return fingerprint_; }

    const Vocabulary& vocabulary() const { return vocabulary_; }

    /// Hugging Face's tokenizer.json.
    std::string to_json() const;

    /// Writes to_json() so that the name appears when the file is whole.
    void save(const std::filesystem::path& path) const;

private:
    /// The tokens of one word, in place over its bytes' tokens; returns how many.
    std::size_t encode_word(std::string_view word, std::span<Token> tokens) const;

    Vocabulary vocabulary_;
    BpeMerges merges_;
    std::array<Token, 256> byte_tokens_;
    std::string bytes_;                 // what the tokens stand for, one after another
    std::vector<std::size_t> offsets_;  // of token id in bytes_; one more at the end
    std::optional<Token> end_of_text_;
    std::uint64_t fingerprint_ = 0;
};

}  // namespace ulmpi
