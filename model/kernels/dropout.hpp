#pragma once
// Dropout (Srivastava et al. 2014) whose masks do not depend on how the work is split: whether an element is kept is a
// function of (key, site, sequence, position, column), all of them global.
//
// One Philox call gives the 16-bit numbers of 8 neighbouring columns: counter = {column / 8, position, sequence, site},
// column 8c + 2j + h takes half h (0 = low) of word j. An element is dropped when its number is below
// t = round(65536 probability), and a kept one is multiplied by 1 / (1 - t / 65536), so that the mean is exact.

#include <cstddef>
#include <cstdint>

#include "model/real.hpp"

namespace ulmpi {

/// One place of one training step where dropout acts. key comes from (seed, step), site names the layer and the place
/// in it. 0 <= probability < 1.
struct DropoutSite {
    std::uint64_t key = 0;
    std::uint32_t site = 0;
    Real probability = 0;
};

/// y = x mask / (1 - p), row r being position first_position + r of the sequence with the global index `sequence`.
/// Backward is the same call on dy. y may alias x.
void dropout(Real* y, const Real* x, const DropoutSite& site, std::uint32_t sequence, std::uint32_t first_position,
             std::size_t rows, std::size_t width);
/// y = residual + x mask / (1 - p). y may alias x or residual.
void dropout_add(Real* y, const Real* residual, const Real* x, const DropoutSite& site, std::uint32_t sequence,
                 std::uint32_t first_position, std::size_t rows, std::size_t width);
/// The factors themselves, mask / (1 - p), of n columns of one row, the first being column 8 first_group.
void dropout_factors(Real* factors, const DropoutSite& site, std::uint32_t sequence, std::uint32_t position,
                     std::uint32_t first_group, std::size_t n);

}  // namespace ulmpi
