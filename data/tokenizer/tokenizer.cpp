#include "data/tokenizer/tokenizer.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.hpp"
#include "base/fingerprint.hpp"
#include "data/tokenizer/bpe_bytes.hpp"
#include "data/tokenizer/pre_tokenizer.hpp"

namespace ulmpi {

namespace {

std::uint64_t fingerprint_of(const Vocabulary& vocabulary) {
    Fingerprint fingerprint;
    fingerprint.add(vocabulary.pieces.size());
    for (std::size_t id = 0; id < vocabulary.pieces.size(); ++id) {
        fingerprint.add(vocabulary.pieces[id]);
        fingerprint.add(vocabulary.special[id]);
    }
    fingerprint.add(vocabulary.merges.size());
    for (const BpeMerge& merge : vocabulary.merges) {
        fingerprint.add(pair_key(merge.left, merge.right));
        fingerprint.add(static_cast<std::uint64_t>(merge.merged));
    }
    return fingerprint.value();
}

}  // namespace

Tokenizer::Tokenizer(Vocabulary vocabulary, const std::string& origin)
    : vocabulary_(std::move(vocabulary)), merges_(vocabulary_.merges), fingerprint_(fingerprint_of(vocabulary_)) {
    const std::size_t size = vocabulary_.pieces.size();
    byte_tokens_.fill(-1);
    offsets_.reserve(size + 1);
    std::vector<bool> readable(size);  // made of the alphabet of bytes
    for (std::size_t id = 0; id < size; ++id) {
        offsets_.push_back(bytes_.size());
        const std::string& piece = vocabulary_.pieces[id];
        if (piece == end_of_text_piece) end_of_text_ = static_cast<Token>(id);
        const auto bytes = vocabulary_.special[id] ? std::nullopt : from_byte_level(piece);
        readable[id] = bytes.has_value();
        if (bytes && bytes->size() == 1)
            byte_tokens_[static_cast<unsigned char>(bytes->front())] = static_cast<Token>(id);
        bytes_ += bytes ? *bytes : piece;
    }
    offsets_.push_back(bytes_.size());

    const auto without_token = std::find(byte_tokens_.begin(), byte_tokens_.end(), -1);
    if (without_token != byte_tokens_.end())
        throw UsageError(origin + ": the vocabulary has no token for byte " +
                         std::to_string(without_token - byte_tokens_.begin()) +
                         ", so not every text can be encoded; give a byte-level BPE vocabulary with all 256 bytes");
    for (std::size_t rank = 0; rank < vocabulary_.merges.size(); ++rank) {
        const auto [left, right, merged] = vocabulary_.merges[rank];
        const auto known = [&](Token id) {
            return id >= 0 && static_cast<std::size_t>(id) < size && readable[static_cast<std::size_t>(id)];
        };
        const auto piece = [&](Token id) -> const std::string& {
            return vocabulary_.pieces[static_cast<std::size_t>(id)];
        };
        if (!known(left) || !known(right) || !known(merged) || piece(left) + piece(right) != piece(merged))
            throw UsageError(
                origin + ": merge " + std::to_string(rank + 1) +
                " does not join two tokens of the byte-level vocabulary into a third; the file is damaged, "
                "or vocabulary and merges belong to different tokenizers");
    }
}

std::size_t Tokenizer::encode_word(std::string_view word, std::span<Token> tokens) const {
    for (std::size_t i = 0; i < word.size(); ++i) tokens[i] = byte_tokens_[static_cast<unsigned char>(word[i])];
    return merges_.apply(tokens.first(word.size()));
}

void Tokenizer::encode(std::string_view text, std::vector<Token>& out, BpeCache& cache) const {
    cache.use_for(fingerprint_);
    constexpr std::size_t widest = std::max(BpeCache::Entry::limit, PackedWord::limit);
    std::array<Token, 1024 + widest> buffer;  // tokens on their way to `out`
    std::size_t buffered = 0;
    const auto flush = [&] {
        out.insert(out.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(buffered));
        buffered = 0;
    };
    std::vector<Token> long_word;
    const char* const end = text.data() + text.size();
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t length = end_of_word(text, begin) - begin;
        const std::string_view word = text.substr(begin, length);
        begin += length;
        if (buffered > buffer.size() - widest) flush();
        if (length <= PackedWord::limit) {
            const PackedWord packed = pack_word(word.data(), length, end);
            BpeCache::Entry& entry = cache.place(packed);
            if (entry.word == packed) [[likely]] {
                std::memcpy(buffer.data() + buffered, entry.tokens.data(), sizeof(entry.tokens));
                buffered += entry.size;
                continue;
            }
            Token* const tokens = buffer.data() + buffered;
            const std::size_t size = encode_word(word, {tokens, PackedWord::limit});
            if (size <= BpeCache::Entry::limit) {
                entry.word = packed;
                std::copy_n(tokens, size, entry.tokens.begin());
                entry.size = static_cast<std::uint32_t>(size);
            }
            buffered += size;
            continue;
        }
        flush();
        if (const auto* known = cache.find(word)) {
            out.insert(out.end(), known->begin(), known->end());
            continue;
        }
        long_word.resize(length);
        long_word.resize(encode_word(word, long_word));
        cache.insert(word, long_word);
        out.insert(out.end(), long_word.begin(), long_word.end());
    }
    flush();
}

std::vector<Token> Tokenizer::encode(std::string_view text) const {
    BpeCache cache(8);
    std::vector<Token> tokens;
    encode(text, tokens, cache);
    return tokens;
}

std::string Tokenizer::decode(std::span<const Token> tokens) const {
    std::string text;
    for (const Token token : tokens) {
        const auto id = static_cast<std::size_t>(token);
        if (token < 0 || id >= vocabulary_size())
            throw Error("token " + std::to_string(token) + " is beyond the vocabulary of " +
                        std::to_string(vocabulary_size()) + "; the tokens come from another tokenizer");
        text.append(bytes_, offsets_[id], offsets_[id + 1] - offsets_[id]);
    }
    return text;
}

Token Tokenizer::end_of_text() const {
    check_usage(
        end_of_text_.has_value(),
        "the tokenizer's vocabulary has no {}; train one with 'ulmpi data tokenizer', or add the token to the file",
        std::string(end_of_text_piece));
    return *end_of_text_;
}

}  // namespace ulmpi
