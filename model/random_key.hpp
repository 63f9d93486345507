#pragma once
// Keys for the counter-based generator: every use of randomness names itself.

#include <cstdint>
#include <string_view>

namespace ulmpi {

/// splitmix64 (Steele, Lea & Flood 2014): a bijection that scatters its input.
constexpr std::uint64_t mix(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

/// The key of (seed, number): a step, say.
constexpr std::uint64_t random_key(std::uint64_t seed, std::uint64_t number) { return mix(seed ^ mix(number)); }

/// The key of (seed, name): a tensor, say.
constexpr std::uint64_t random_key(std::uint64_t seed, std::string_view name) {
    std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
    for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return random_key(seed, hash);
}

}  // namespace ulmpi
