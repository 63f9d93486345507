#pragma once
// What a model is a list of.

#include "model/context.hpp"
#include "model/flow.hpp"
#include "model/rooms.hpp"

namespace ulmpi {

/// A differentiable function of the flow, with parameters. Immutable once built: what the data changes is in the
/// Context, what training changes in the ParameterStore. Every worker calls every function; forward and backward differ
/// between workers in whose rows they write.
class Module {
public:
    virtual ~Module() = default;
    /// Take the room that forward and backward take; what forward keeps stays taken.
    virtual void plan_forward(Rooms& rooms) const = 0;
    virtual void plan_backward(Rooms& rooms) const = 0;
    /// The flow holds what the module takes, then what it returns, which is kept.
    virtual void forward(Flow& flow, Context& context) const = 0;
    /// The flow holds the gradients of what was returned, then of what was taken, in place; adds to the gradients of
    /// the parameters. Every worker is done when it returns.
    virtual void backward(Flow& gradient, Context& context) const = 0;
};

}  // namespace ulmpi
