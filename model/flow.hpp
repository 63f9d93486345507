#pragma once
// What goes from one module to the next, and over a pipeline's edges.

#include <algorithm>
#include <array>
#include <cstddef>

#include "model/real.hpp"
#include "model/tensor.hpp"

namespace ulmpi {

/// Which tensor of the flow. hidden: the states that every module turns into new ones; memory: an encoder's output;
/// target: the embedded target, which waits beside the encoder until the decoder begins.
enum class Lane : std::size_t { hidden, memory, target };
inline constexpr std::size_t lane_count = 3;
inline constexpr Lane lanes[lane_count]{Lane::hidden, Lane::memory, Lane::target};

/// Whose positions a tensor's rows are: those of the micro-batch's inputs, or of its sources.
enum class Side { inputs, sources };

struct LaneShape {
    std::size_t width = 0;  ///< columns; 0: it is not there
    Side side = Side::inputs;
};

/// What crosses an edge.
class FlowShape {
public:
    LaneShape& operator[](Lane lane) { return lanes_[static_cast<std::size_t>(lane)]; }
    const LaneShape& operator[](Lane lane) const { return lanes_[static_cast<std::size_t>(lane)]; }
    std::size_t lanes() const {
        return static_cast<std::size_t>(std::ranges::count_if(lanes_, [](const LaneShape& l) { return l.width > 0; }));
    }
    static FlowShape of_hidden(std::size_t width, Side side = Side::inputs) {
        FlowShape shape;
        shape[Lane::hidden] = {width, side};
        return shape;
    }

private:
    std::array<LaneShape, lane_count> lanes_{};
};

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
