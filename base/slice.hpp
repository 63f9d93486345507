#pragma once
// How a whole is cut into parts, evenly or as evenly as it goes. Pure arithmetic, used for every axis.

#include <algorithm>
#include <cstddef>

namespace ulmpi {

/// A half-open range of indices: rows of a batch, slices of a vocabulary.
struct Range {
    std::size_t first = 0, last = 0;
    constexpr std::size_t size() const { return last - first; }
    constexpr bool contains(std::size_t index) const { return first <= index && index < last; }
    friend constexpr bool operator==(const Range&, const Range&) = default;
};

/// Part `part` of `parts` of 0 … whole-1: consecutive, sizes differ by at most one, the larger ones first.
constexpr Range even_slice(std::size_t whole, std::size_t parts, std::size_t part) {
    const std::size_t base = whole / parts, extra = whole % parts;
    const std::size_t first = part * base + std::min(part, extra);
    return {first, first + base + (part < extra ? 1 : 0)};
}

}  // namespace ulmpi
