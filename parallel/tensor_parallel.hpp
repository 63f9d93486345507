#pragma once
// The conjugate pair of Megatron-LM (Shoeybi et al. 2019, section 3): f is the identity forward and a sum over slices
// backward, it stands before a column-parallel layer; g is the sum forward and the identity backward, after a
// row-parallel layer. Both are this one sum, so a Transformer layer has two all-reduces forward and two backward.

#include <span>

#include "parallel/communicator.hpp"
#include "parallel/team.hpp"

namespace ulmpi {

/// partial = sum of all slices' partial. Called by every worker once all have written their part of `partial`.
template <typename T>
void sum_over_slices(std::span<T> partial, const Communicator& tensor, int slices, const Team& team) {
    if (slices == 1) return;
    team.single([&] { tensor.all_reduce_sum(partial); });
}

}  // namespace ulmpi
