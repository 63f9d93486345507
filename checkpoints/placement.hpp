#pragma once
// Which rank holds which part of each tensor, and which rank writes it. The same on every rank.

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "checkpoints/format.hpp"
#include "model/parameters.hpp"
#include "parallel/communicator.hpp"

namespace ulmpi {

/// The part of a tensor that one rank of a replica holds. Pieces of a tensor do not overlap and fill it.
struct Piece {
    int rank = 0;  ///< in Topology::model
    Slicing slicing;
    std::size_t elements = 0;
};

struct TensorPlacement {
    std::string name;
    Shape shape;
    std::vector<Piece> pieces;
    bool is_state = false;
};

/// Every tensor of the model and where its counted elements are, in the order of the stages: the same list, in the same
/// order, under any layout. Collective over one replica.
std::vector<TensorPlacement> place_tensors(const ParameterStore& store, const Communicator& model);

/// One dataset and the rank that writes it: `writer` of Topology::model in replica `replica`.
struct WriteJob {
    std::size_t tensor = 0;  ///< index in the placements
    Part part = Part::weight;
    int replica = 0, writer = 0;
};

/// Deals the datasets of weights and states over the ranks that hold a piece of them in any replica, the largest first,
/// each to the one with the fewest bytes so far. Returned in the order in which they lie in the file. Pure. `averaged`:
/// there is an average of the weights, so that they are two.
std::vector<WriteJob> deal_jobs(const std::vector<TensorPlacement>& tensors, bool with_moments, int replicas,
                                bool averaged = false);

/// Whether the piece is consecutive in the whole tensor; `first` is then the index of its first element.
bool is_consecutive(const Shape& shape, const Slicing& slicing, std::size_t& first);

/// whole[slice] = piece
void insert_slice(std::span<float> whole, const Shape& shape, const Slicing& slicing, std::span<const float> piece);

}  // namespace ulmpi
