#pragma once
// What is added to a language model's loss so that its last states stay small, and change little from one position to
// the next (Merity et al. 2017, "Revisiting activation regularization for language RNNs"). In training alone.

#include "model/layers/module.hpp"

namespace ulmpi {

/// Adds weight × the mean of x² over the global batch, as AR has it; x is handed on.
class ActivationRegularization : public Module {
public:
    ActivationRegularization(std::size_t width, double weight) : width_(width), weight_(weight) {}
    void plan_forward(Rooms&) const override {}
    void plan_backward(Rooms&) const override {}
    void forward(Flow& flow, Context& context) const override;
    void backward(Flow& gradient, Context& context) const override;

private:
    std::size_t width_;
    double weight_;
};

/// Adds weight × the mean of (x_t - x_{t-1})² over the positions of every window but the first, as TAR has it.
class TemporalRegularization : public Module {
public:
    TemporalRegularization(std::size_t width, double weight) : width_(width), weight_(weight) {}
    void plan_forward(Rooms&) const override {}
    void plan_backward(Rooms&) const override {}
    void forward(Flow& flow, Context& context) const override;
    void backward(Flow& gradient, Context& context) const override;

private:
    /// Of the sum of squares, beside losses of which there is one a position.
    double factor(const Context& context) const;

    std::size_t width_;
    double weight_;
};

}  // namespace ulmpi
