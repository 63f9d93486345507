#pragma once
// Keys for counter-based randomness: every use of it names itself, so that what is drawn depends on global indices
// alone and never on who draws.

#include <cstdint>
#include <string_view>

namespace ulmpi {

/// The finalizer of splitmix64 (Steele, Lea & Flood 2014): a bijection of 64 bits without visible structure.
constexpr std::uint64_t mix_bits(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

/// The key of (seed, number): a step, say.
constexpr std::uint64_t random_key(std::uint64_t seed, std::uint64_t number) {
    return mix_bits(seed ^ mix_bits(number));
}

/// The key of (seed, name): a tensor, say.
constexpr std::uint64_t random_key(std::uint64_t seed, std::string_view name) {
    std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
    for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return random_key(seed, hash);
}

}  // namespace ulmpi
