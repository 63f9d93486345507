#pragma once
// What recurrent modules carry from one window of a stream to the next. Sequence s of every global batch goes on where
// sequence s of the batch before ended.

#include <cstddef>
#include <string>
#include <vector>

#include "model/parameters.hpp"
#include "parallel/communicator.hpp"

namespace ulmpi {

enum class StateId : std::size_t {};

/// (streams, width) of one name, of which this rank holds the columns that `slicing` says.
struct StateShape {
    std::string name;
    std::size_t width = 0;
    Slicing slicing;
    bool counted = true;  ///< false on every rank but one of those that hold the same
};

/// The state before the windows that are read now, or the one after them.
enum class Turn { before, after };

/// Every replica has room for the streams of all, and computes its own: a few kB a stream, beside weights of as many
/// MB.
class CarriedStates {
public:
    /// Zeros: nothing has been read.
    CarriedStates(const std::vector<StateShape>& shapes, std::size_t streams);
    /// The same without memory, to plan with.
    static ParameterStore planned(const std::vector<StateShape>& shapes, std::size_t streams);

    /// (streams, this rank's columns).
    View<Real> at(StateId id, Turn turn) {
        const auto parameter = static_cast<ParameterId>(id);
        return turn == Turn::before ? tensors_.value(parameter) : tensors_.gradient(parameter);
    }
    std::size_t streams() const { return tensors_.parameters().front().global.extent[0]; }
    /// The windows have been read: what was after them is before the next.
    void advance();
    /// Replicas learn from each other what is before the next windows of all streams; this one computed those of
    /// `mine`. Collective over the replicas.
    void share(Range mine, const Communicator& data);
    /// That by name, as checkpoints have it.
    ParameterStore& tensors() { return tensors_; }

private:
    ParameterStore tensors_;  ///< its values are before, its gradients after
};

}  // namespace ulmpi
