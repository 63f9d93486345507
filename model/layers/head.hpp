#pragma once
// The end of the model: activations in, loss out.

#include <vector>

#include "model/context.hpp"

namespace ulmpi {

class Head {
public:
    virtual ~Head() = default;
    /// Takes the room that any of what follows takes, and gives it back.
    virtual void plan(Rooms& rooms, bool training) const = 0;
    /// Adds the losses of this micro-batch to context.loss, summed over the workers. When training, also writes dL/dx
    /// (times options.loss_scale) to `gradient` and adds to the head's gradients: done at once, because the logits are
    /// the largest tensor of all and live a chunk at a time. gradient: (rows, d); empty when not training.
    virtual void forward(View<Real> gradient, View<Real> x, Context& context) const = 0;
    /// Writes scores for whoever asked: logits of the last real position of each sequence (language model), or class
    /// probabilities (classifier). (sequences, outputs()), whole on every slice. Every worker calls it.
    virtual void predict(View<Real> scores, View<Real> x, Context& context) const = 0;
    virtual std::size_t outputs() const = 0;
};

}  // namespace ulmpi
