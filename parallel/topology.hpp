#pragma once
// The grid of ranks: data × pipeline × tensor, and one communicator along each axis.

#include <string>

#include "parallel/communicator.hpp"
#include "parallel/timeline.hpp"

namespace ulmpi {

/// How many ways each axis is split.
struct Extents {
    int data = 1, pipeline = 1, tensor = 1;
};

/// A rank's place in the grid: which replica, which stage of it, which slice of the stage.
struct Coordinates {
    int data = 0, stage = 0, slice = 0;
    friend bool operator==(const Coordinates&, const Coordinates&) = default;
};

// rank = (data * pipeline + stage) * tensor + slice: slices of one layer are neighbours, as they talk most.
constexpr Coordinates coordinates_of(int rank, Extents n) {
    return {rank / (n.pipeline * n.tensor), rank / n.tensor % n.pipeline, rank % n.tensor};
}
constexpr int rank_of(Coordinates at, Extents n) { return (at.data * n.pipeline + at.stage) * n.tensor + at.slice; }

/// The data-parallel extent that fills `ranks` ranks. UsageError if tensor × pipeline does not divide them.
Extents extents_for(int ranks, int pipeline, int tensor);

/// "dp2 x pp1 x tp2".
std::string to_string(Extents);

/// This rank's place and its neighbours. Built once by a command and passed down.
struct Topology {
    /// Collective; extents must fill the world. What the ranks send is recorded on `timeline`, if there is one; it must
    /// outlive this.
    Topology(const Communicator& world, Extents extents, Timeline* timeline = nullptr);
    Extents extents;
    Coordinates at;
    Communicator all;       ///< every rank of the grid, numbered by rank_of: the whole job agrees here
    Communicator data;      ///< ranks holding the same weights: gradients are summed here
    Communicator pipeline;  ///< ranks holding successive stages of one replica: activations travel here
    Communicator tensor;    ///< ranks holding slices of one stage: partial sums are added here
    Communicator model;     ///< ranks holding one replica (pipeline × tensor): norms and losses are combined here
    Communicator ends;      ///< first and last stage of one slice (alone elsewhere): tied embeddings are summed here
    Timeline* timeline;     ///< of this rank's first thread; may be null
    bool first_stage() const { return at.stage == 0; }
    bool last_stage() const { return at.stage == extents.pipeline - 1; }
};

}  // namespace ulmpi
