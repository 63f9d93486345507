#pragma once
// What goes from one module to the next, and over a pipeline's edges.

#include <array>
#include <cstddef>

#include "model/real.hpp"
#include "model/tensor.hpp"

namespace ulmpi {

/// Which tensor of the flow. hidden: the states that every module turns into new ones.
enum class Lane : std::size_t { hidden };
inline constexpr std::size_t lane_count = 1;

/// Columns of each lane; 0: it is not there.
using FlowWidths = std::array<std::size_t, lane_count>;

/// The tensors under way, (rows, width) each, which an arena owns; those that are not there are empty. Backwards: their
/// gradients, which modules turn from those of what they returned into those of what they took, in place.
class Flow {
public:
    View<Real>& operator[](Lane lane) { return lanes_[static_cast<std::size_t>(lane)]; }
    View<Real> operator[](Lane lane) const { return lanes_[static_cast<std::size_t>(lane)]; }

private:
    std::array<View<Real>, lane_count> lanes_{};
};

}  // namespace ulmpi
