#pragma once
// The position-wise layer: down(act(up(x))), or down(silu(gate(x)) * up(x)), its width split over slices.

#include <memory>

#include "model/config.hpp"
#include "model/layers/linear.hpp"
#include "model/layers/sublayer.hpp"

namespace ulmpi {

class FeedForward : public Layer {
public:
    /// `name` is "block.3.ffn".
    FeedForward(ParameterStore& store, const ModelConfig& config, const std::string& name, int group, int slice,
                int slices);
    void forward(View<Real> y, View<const Real> x, Context& context) const override;
    void backward(View<Real> dx, View<const Real> dy, View<const Real> x, Context& context) const override;

private:
    bool gated() const { return gate_ != nullptr; }
    /// a = act(u), or silu(g) * u, for `n` elements.
    void activate(Real* a, const Real* u, const Real* g, std::size_t n) const;

    Activation activation_;
    std::size_t width_;  ///< this slice's
    Linear up_;
    std::unique_ptr<Linear> gate_;  ///< SwiGLU alone
    Linear down_;
};

}  // namespace ulmpi
