#pragma once
// Short words as two integers: most words of a text fit, and then comparing and hashing them takes a few instructions.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace ulmpi {

static_assert(std::endian::native == std::endian::little, "words are packed on little-endian machines");

/// A word of 1 to 15 bytes: the bytes, filled with zeros, and the length in the last byte. All zeros is no word.
struct PackedWord {
    static constexpr std::size_t limit = 15;

    std::uint64_t low = 0, high = 0;

    friend constexpr bool operator==(const PackedWord&, const PackedWord&) = default;
    std::size_t length() const { return high >> 56; }
    const char* bytes() const { return reinterpret_cast<const char*>(this); }

    std::uint64_t hash() const {
        std::uint64_t mixed = low * 0x9E3779B97F4A7C15u ^ std::rotl(high * 0xC2B2AE3D27D4EB4Fu, 32);
        mixed = (mixed ^ mixed >> 29) * 0x165667B19E3779F9u;
        return mixed ^ mixed >> 32;
    }
};

/// Packs [word, word + length), 1 <= length <= PackedWord::limit; `end` is the end of the readable text around it.
inline PackedWord pack_word(const char* word, std::size_t length, const char* end) {
    constexpr auto masks = [] {
        std::array<PackedWord, PackedWord::limit + 1> table{};
        for (std::size_t bytes = 0; bytes <= PackedWord::limit; ++bytes) {
            for (std::size_t i = 0; i < bytes; ++i)
                (i < 8 ? table[bytes].low : table[bytes].high) |= 0xFFull << (i % 8) * 8;
        }
        return table;
    }();
    PackedWord packed;
    if (end - word >= 16) {
        std::memcpy(&packed, word, 16);
        packed.low &= masks[length].low;
        packed.high &= masks[length].high;
    } else {
        std::memcpy(&packed, word, length);
    }
    packed.high |= static_cast<std::uint64_t>(length) << 56;
    return packed;
}

}  // namespace ulmpi
