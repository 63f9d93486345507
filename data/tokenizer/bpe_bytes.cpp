#include "data/tokenizer/bpe_bytes.hpp"

#include <array>
#include <cstddef>

namespace ulmpi {

namespace {

struct Alphabet {
    std::array<std::string, 256> characters;
    std::array<int, 0x144> bytes;  // by code point; -1: not of the alphabet

    Alphabet() {
        bytes.fill(-1);
        unsigned next = 0x100;
        for (unsigned byte = 0; byte < 256; ++byte) {
            const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
            const unsigned code = printable ? byte : next++;
            bytes[code] = static_cast<int>(byte);
            if (code < 0x80) {
                characters[byte] = std::string(1, static_cast<char>(code));
            } else {
                characters[byte] = {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
            }
        }
    }
};

const Alphabet& alphabet() {
    static const Alphabet instance;
    return instance;
}

}  // namespace

const std::string& byte_level_character(unsigned char byte) { return alphabet().characters[byte]; }

std::string to_byte_level(std::string_view bytes) {
    std::string text;
    text.reserve(bytes.size());
    for (const char byte : bytes) text += byte_level_character(static_cast<unsigned char>(byte));
    return text;
}

std::optional<std::string> from_byte_level(std::string_view text) {
    std::string bytes;
    bytes.reserve(text.size());
    for (std::size_t at = 0; at < text.size(); ++at) {
        unsigned code = static_cast<unsigned char>(text[at]);
        if (code >= 0x80) {  // the alphabet's other characters are two bytes long
            if ((code & 0xE0) != 0xC0 || at + 1 == text.size()) return std::nullopt;
            code = (code & 0x1F) << 6 | (static_cast<unsigned char>(text[++at]) & 0x3F);
        }
        if (code >= alphabet().bytes.size() || alphabet().bytes[code] < 0) return std::nullopt;
        bytes += static_cast<char>(alphabet().bytes[code]);
    }
    return bytes;
}

}  // namespace ulmpi
