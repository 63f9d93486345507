#pragma once
// Splits text into the words that byte-pair encoding works on: GPT-2's pattern as a hand-written scanner.
//
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// \p{L} and \p{N} are Unicode's general categories (of utf8proc's version), \s its White_Space property. The words
// cover the text without gaps. Text need not be UTF-8: a byte that starts no well-formed sequence is a symbol,
// [^\s\p{L}\p{N}], of one byte.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ulmpi {

namespace pre_tokenizer {

enum class CharacterClass : std::uint8_t { letter, number, space, symbol, not_ascii };

/// A character of the text: its class and its length in bytes.
struct Character {
    CharacterClass kind;
    std::uint8_t length;
};

/// The class of every first byte; not_ascii sends the reader to read_beyond_ascii.
constexpr std::array<CharacterClass, 256> class_of_byte = [] {
    std::array<CharacterClass, 256> table{};
    for (std::size_t byte = 0; byte < 256; ++byte) {
        const bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
        table[byte] = byte >= 128                                ? CharacterClass::not_ascii
                      : letter                                   ? CharacterClass::letter
                      : byte >= '0' && byte <= '9'               ? CharacterClass::number
                      : byte == ' ' || (byte >= 9 && byte <= 13) ? CharacterClass::space
                                                                 : CharacterClass::symbol;
    }
    return table;
}();

/// The character at text[at], whose first byte is 128 or more.
Character read_beyond_ascii(std::string_view text, std::size_t at);

inline Character read_character(std::string_view text, std::size_t at) {
    const CharacterClass kind = class_of_byte[static_cast<unsigned char>(text[at])];
    if (kind == CharacterClass::not_ascii) return read_beyond_ascii(text, at);
    return {kind, 1};
}

/// The end of the run of characters of one class that contains text[at - 1].
inline std::size_t end_of_run(std::string_view text, std::size_t at, CharacterClass kind) {
    while (at < text.size()) {
        CharacterClass next = class_of_byte[static_cast<unsigned char>(text[at])];
        std::size_t length = 1;
        if (next == CharacterClass::not_ascii) {
            const Character character = read_beyond_ascii(text, at);
            next = character.kind;
            length = character.length;
        }
        if (next != kind) break;
        at += length;
    }
    return at;
}

/// The length of the contraction ('s 't 're 've 'm 'll 'd) at text[at], which is an apostrophe, or 0.
std::size_t contraction_length(std::string_view text, std::size_t at);

/// The end of a run of white space that starts at text[at]: its last character is left to the next word unless it
/// ends the text or is the only one.
std::size_t end_of_space(std::string_view text, std::size_t at);

}  // namespace pre_tokenizer

/// The end of the word that starts at text[begin]. begin < text.size(), and is where a word ended or 0.
inline std::size_t end_of_word(std::string_view text, std::size_t begin) {
    using namespace pre_tokenizer;
    std::size_t at = begin;
    if (text[at] == ' ') {
        if (at + 1 == text.size()) return at + 1;
        ++at;
        const Character next = read_character(text, at);
        if (next.kind == CharacterClass::space) return end_of_space(text, begin);
        return end_of_run(text, at + next.length, next.kind);
    }
    if (text[at] == '\'') {
        const std::size_t length = contraction_length(text, at);
        if (length != 0) return at + length;
    }
    const Character first = read_character(text, at);
    if (first.kind == CharacterClass::space) return end_of_space(text, at);
    return end_of_run(text, at + first.length, first.kind);
}

}  // namespace ulmpi
