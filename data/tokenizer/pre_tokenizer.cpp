#include "data/tokenizer/pre_tokenizer.hpp"

#include "data/tokenizer/unicode.hpp"

namespace ulmpi::pre_tokenizer {

namespace {

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
    switch (category_of(code.value)) {
        case CharacterCategory::letter:
            return {CharacterClass::letter, code.length};
        case CharacterCategory::number:
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
