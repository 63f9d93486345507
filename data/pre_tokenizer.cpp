#include "data/pre_tokenizer.hpp"

#include <utf8proc.h>

namespace ulmpi::pre_tokenizer {

namespace {

struct CodePoint {
    char32_t value;
    std::uint8_t length;  // 0: the bytes are not well-formed UTF-8
};

// Well-formed sequences of two to four bytes (Unicode standard, table 3-7): no surrogates, nothing overlong,
// nothing above U+10FFFF.
CodePoint decode_utf8(std::string_view text, std::size_t at) {
    const auto byte = [&](std::size_t offset) -> char32_t {
        return at + offset < text.size() ? static_cast<unsigned char>(text[at + offset]) : 0;
    };
    const auto continues = [&](std::size_t offset) { return (byte(offset) & 0xC0) == 0x80; };
    const char32_t first = byte(0);
    if (first >= 0xC2 && first <= 0xDF && continues(1)) return {(first & 0x1F) << 6 | (byte(1) & 0x3F), 2};
    if (first >= 0xE0 && first <= 0xEF && continues(1) && continues(2)) {
        const char32_t value = (first & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
        if (value >= 0x800 && (value < 0xD800 || value > 0xDFFF)) return {value, 3};
    }
    if (first >= 0xF0 && first <= 0xF4 && continues(1) && continues(2) && continues(3)) {
        const char32_t value = (first & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F);
        if (value >= 0x10000 && value <= 0x10FFFF) return {value, 4};
    }
    return {0, 0};
}

// White_Space beyond ASCII (PropList.txt).
bool is_white_space(char32_t c) {
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

}  // namespace

Character read_beyond_ascii(std::string_view text, std::size_t at) {
    const CodePoint code = decode_utf8(text, at);
    if (code.length == 0) return {CharacterClass::symbol, 1};
    if (is_white_space(code.value)) return {CharacterClass::space, code.length};
    switch (utf8proc_category(static_cast<utf8proc_int32_t>(code.value))) {
        case UTF8PROC_CATEGORY_LU:
        case UTF8PROC_CATEGORY_LL:
        case UTF8PROC_CATEGORY_LT:
        case UTF8PROC_CATEGORY_LM:
        case UTF8PROC_CATEGORY_LO:
            return {CharacterClass::letter, code.length};
        case UTF8PROC_CATEGORY_ND:
        case UTF8PROC_CATEGORY_NL:
        case UTF8PROC_CATEGORY_NO:
            return {CharacterClass::number, code.length};
        default:
            return {CharacterClass::symbol, code.length};
    }
}

std::size_t contraction_length(std::string_view text, std::size_t at) {
    const char first = at + 1 < text.size() ? text[at + 1] : '\0';
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
    const char second = at + 2 < text.size() ? text[at + 2] : '\0';
    if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l')) return 3;
    return 0;
}

std::size_t end_of_space(std::string_view text, std::size_t at) {
    const std::size_t begin = at;
    std::size_t last = at;
    while (at < text.size()) {
        const Character character = read_character(text, at);
        if (character.kind != CharacterClass::space) return last == begin ? at : last;
        last = at;
        at += character.length;
    }
    return at;
}

}  // namespace ulmpi::pre_tokenizer
