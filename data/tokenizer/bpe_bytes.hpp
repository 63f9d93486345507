#pragma once
// GPT-2's alphabet: every byte as one printable character, so that a vocabulary of byte strings can be written as text.
//
// '!'..'~', U+00A1..U+00AC and U+00AE..U+00FF stand for the bytes of their own number; the other 68 bytes, in order,
// are U+0100, U+0101, ... (the space is U+0120).

#include <optional>
#include <string>
#include <string_view>

namespace ulmpi {

/// The character, in UTF-8, that stands for a byte.
const std::string& byte_level_character(unsigned char byte);

/// Bytes, written in the alphabet.
std::string to_byte_level(std::string_view bytes);

/// The bytes that `text` writes; nothing if some character is not of the alphabet.
std::optional<std::string> from_byte_level(std::string_view text);

}  // namespace ulmpi
