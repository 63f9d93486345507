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
    void plan_forward(Rooms& rooms) const override;
    void plan_backward(Rooms& rooms) const override;
    void forward(View<Real> y, View<const Real> x, const Flow&, Context& context) const override;
    void backward(View<Real> dx, View<const Real> dy, View<const Real> x, Flow&, Context& context) const override;

private:
    struct FeedForwardKept {
        Kept u, g;
    };
    FeedForwardKept keep(Rooms& rooms) const;
    // This worker's rows: of what is kept; then, in the same room, its input rounded, or a and that rounded.
    struct Opened {
        View<Real> u, g;
    };
    struct Outwards {
        View<Real> a;
        View<BFloat16> rounded;
    };
    Opened open(Rooms& rooms, const FeedForwardKept& kept) const;
    View<BFloat16> inwards(Rooms& rooms) const { return rooms.rounding(rooms.own, {rooms.rows.size(), hidden_}); }
    Outwards outwards(Rooms& rooms) const;
    // Of all workers, in backward: a once more, gradients, and factors.
    struct Work {
        View<Real> a, du, dg;
        View<BFloat16> rounded_a, rounded_du, rounded_dg;
        FactorRoom dy, x;
    };
    Work work(Rooms& rooms) const;

    bool gated() const { return gate_ != nullptr; }
    /// a = act(u), or silu(g) * u, for `n` elements.
    void activate(Real* a, const Real* u, const Real* g, std::size_t n) const;

    Activation activation_;
    std::size_t hidden_, width_;  ///< the latter this slice's
    Linear up_;
    std::unique_ptr<Linear> gate_;  ///< SwiGLU alone
    Linear down_;
};

}  // namespace ulmpi
