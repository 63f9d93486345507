#pragma once
// Floats of 16 bits: IEEE 754's binary16 (a half), and the upper half of a float (bfloat16).

#include <algorithm>
#include <bit>
#include <cstdint>

namespace ulmpi {

/// x as a half, to the nearest, ties to even: 11 bits of mantissa from 2^-14 up, multiples of 2^-24 below. What would
/// be 65520 and more is infinity; a NaN stays one.
inline std::uint16_t half_from(float x) {
    const auto bits = std::bit_cast<std::uint32_t>(x), magnitude = bits & 0x7fffffff, sign = bits >> 16 & 0x8000;
    std::uint32_t half = 0;
    if (magnitude > 0x7f800000) {
        half = 0x7e00;
    } else if (magnitude < 0x38800000) {  // 2^-14; the last bit of floats from 1/2 to 1 is 2^-24, so the sum rounds
        half =
            std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - std::bit_cast<std::uint32_t>(0.5F);
    } else {  // bits + 0xfff + (last bit kept), cut, which may carry into the exponent; its bias becomes 15 from 127
        const std::uint32_t nearest = std::min(magnitude, 0x7f800000U) + 0xfff + (magnitude >> 13 & 1);
        half = std::min((nearest - (112U << 23)) >> 13, 0x7c00U);
    }
    return static_cast<std::uint16_t>(sign | half);
}

/// Exactly.
inline float float_from_half(std::uint16_t half) {
    const std::uint32_t sign = (half & 0x8000U) << 16, exponent = half & 0x7c00U, mantissa = half & 0x3ffU;
    if (exponent == 0) return (sign != 0 ? -0x1p-24F : 0x1p-24F) * static_cast<float>(mantissa);
    const std::uint32_t bias = exponent == 0x7c00 ? 224U << 23 : 112U << 23;  // 255 from 31; else 127 from 15
    return std::bit_cast<float>(sign | (((exponent | mantissa) << 13) + bias));
}
inline float float_from_bfloat16(std::uint16_t upper_half) {
    return std::bit_cast<float>(static_cast<std::uint32_t>(upper_half) << 16);
}

}  // namespace ulmpi
