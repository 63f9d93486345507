#pragma once
// Random numbers as a pure function of (key, counter): Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random
// numbers: as easy as 1, 2, 3", SC 2011.

#include <array>
#include <cstddef>
#include <cstdint>

#include "model/real.hpp"

namespace ulmpi {

namespace philox {
inline constexpr std::uint32_t multiplier[2] = {0xD2511F53, 0xCD9E8D57};
inline constexpr std::uint32_t key_step[2] = {0x9E3779B9, 0xBB67AE85};
inline constexpr int rounds = 10;
}  // namespace philox

/// 128 random bits. The low word of the key is the first one of the paper.
constexpr std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter, std::uint64_t key) {
    auto k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
    for (int round = 0; round < philox::rounds; ++round) {
        const std::uint64_t a = std::uint64_t{philox::multiplier[0]} * counter[0];
        const std::uint64_t b = std::uint64_t{philox::multiplier[1]} * counter[2];
        counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ k0, static_cast<std::uint32_t>(b),
                   static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ k1, static_cast<std::uint32_t>(a)};
        k0 += philox::key_step[0];
        k1 += philox::key_step[1];
    }
    return counter;
}

/// out[i] ~ N(0, std^2), a function of (key, first_index + i) only: a slice of a tensor can be drawn alone.
/// Elements 2j and 2j+1 are the cosine and the sine of one Box-Muller pair, in double, from the call with counter j.
void normal_fill(Real* out, std::uint64_t key, std::uint64_t first_index, std::size_t n, Real std);

}  // namespace ulmpi
