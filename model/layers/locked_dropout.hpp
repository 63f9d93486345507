#pragma once
// Variational dropout (Gal & Ghahramani 2016): one mask for all positions of a sequence.

#include "model/config.hpp"
#include "model/layers/module.hpp"

namespace ulmpi {

class LockedDropout : public Module {
public:
    LockedDropout(std::size_t width, double probability, std::uint32_t place)
        : width_(width), probability_(probability), place_(place) {}
    void plan_forward(Rooms& rooms) const override;
    void plan_backward(Rooms& rooms) const override { plan_mask(rooms); }
    void forward(Flow& flow, Context& context) const override;
    void backward(Flow& gradient, Context& context) const override;

private:
    /// What came in is its maker's.
    View<Real> keep(Rooms& rooms) const { return rooms.kept.allocate({rooms.all_rows(), width_}); }
    void plan_mask(Rooms& rooms) const;
    /// y = x mask / (1 - p) on this worker's rows; y may be x.
    void apply(View<Real> y, View<const Real> x, Context& context) const;

    std::size_t width_;
    double probability_;
    std::uint32_t place_;
};

}  // namespace ulmpi
