#pragma once
// Characters of text: UTF-8, and what Unicode (utf8proc's version) says of a code point.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ulmpi {

struct CodePoint {
    char32_t value;
    std::uint8_t length;  // in bytes; 0: the bytes are not well-formed UTF-8
};

/// The code point at text[at]. Well-formed are sequences of one to four bytes (Unicode standard, table 3-7): no
/// surrogates, nothing overlong, nothing above U+10FFFF.
CodePoint decode_utf8(std::string_view text, std::size_t at);

/// The general categories L*, N*, M* and all others.
enum class CharacterCategory : std::uint8_t { letter, number, mark, other };
CharacterCategory category_of(char32_t code);

/// Appends the code point as caseless text: NFKD_Casefold (Unicode standard, 3.13) of it alone, in UTF-8. Upper and
/// lower case become one, and so do a letter with its accent in one code point and in two.
void append_folded(std::string& text, char32_t code);

}  // namespace ulmpi
