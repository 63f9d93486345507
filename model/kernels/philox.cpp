#include "model/kernels/philox.hpp"

#include <cmath>
#include <numbers>

namespace ulmpi {

void normal_fill(Real* out, std::uint64_t key, std::uint64_t first_index, std::size_t n, Real std) {
    const auto unit = [](std::uint32_t high, std::uint32_t low) {  // 53 bits, in (0, 1]
        return static_cast<double>(((std::uint64_t{high} << 32 | low) >> 11) + 1) * 0x1p-53;
    };
    const std::uint64_t end = first_index + n;
    for (std::uint64_t pair = first_index / 2; 2 * pair < end; ++pair) {
        const auto random =
            philox4x32({static_cast<std::uint32_t>(pair), static_cast<std::uint32_t>(pair >> 32), 0, 0}, key);
        const double radius = static_cast<double>(std) * std::sqrt(-2 * std::log(unit(random[0], random[1])));
        const double angle = 2 * std::numbers::pi * unit(random[2], random[3]);
        if (2 * pair >= first_index) out[2 * pair - first_index] = static_cast<Real>(radius * std::cos(angle));
        if (2 * pair + 1 < end) out[2 * pair + 1 - first_index] = static_cast<Real>(radius * std::sin(angle));
    }
}

}  // namespace ulmpi
