#pragma once
// What residual wiring goes around: attention, feed-forward.

#include <memory>

#include "model/config.hpp"
#include "model/context.hpp"
#include "model/layers/module.hpp"
#include "model/layers/norm.hpp"

namespace ulmpi {

/// The function inside a sublayer, f: (rows, width) -> (rows, width). Immutable once built: what the data changes is in
/// the Context, what training changes in the ParameterStore. Every worker calls every function.
class Layer {
public:
    virtual ~Layer() = default;
    /// Take the room that forward and backward take; what forward keeps stays taken.
    virtual void plan_forward(Rooms& rooms) const = 0;
    virtual void plan_backward(Rooms& rooms) const = 0;
    /// y = f(x) on this worker's rows. y: all rows; x: this worker's rows alone. Sums over slices. The flow's other
    /// lanes may be looked at.
    virtual void forward(View<Real> y, View<const Real> x, const Flow& flow, Context& context) const = 0;
    /// dx = (dy/dx)^T dy, and adds to the gradients of the parameters. x is forward's input again, here of all rows.
    /// dx and dy differ. Adds to the gradients of lanes that forward looked at. Every worker is done with dy and x when
    /// it returns.
    virtual void backward(View<Real> dx, View<const Real> dy, View<const Real> x, Flow& gradient,
                          Context& context) const = 0;
};

/// x' = post(x, f(pre(x))), wired by two strings (tensor2tensor's layer_prepostprocess; config.hpp).
class Sublayer : public Module {
public:
    /// `place` numbers this sublayer's dropout in the whole model.
    Sublayer(ParameterStore& store, const ModelConfig& config, const std::string& norm_name, int group,
             bool first_slice, std::uint32_t place, std::unique_ptr<Layer> inner);

    void plan_forward(Rooms& rooms) const override;
    void plan_backward(Rooms& rooms) const override;
    void forward(Flow& flow, Context& context) const override;
    void backward(Flow& gradients, Context& context) const override;

private:
    bool normalises_before() const { return pre_ == "n"; }
    bool normalises_after() const { return post_.find('n') != std::string::npos; }
    /// y: f(pre(x)), then the input of the norm behind it, whose output is `normed`; `before` and `after`: statistics
    /// of the norms that there are.
    struct SublayerKept {
        View<Real> y, before, after, normed;
    };
    SublayerKept keep(Rooms& rooms) const;
    /// h: pre(x) once more. inwards: of dL/dx', what goes on towards f, where it is not the residual's gradient too.
    struct Work {
        View<Real> inwards, dh, h;
    };
    Work work(Rooms& rooms) const;
    /// pre(x) of this worker's rows.
    View<Real> own_rows(Rooms& rooms) const { return rooms.own.allocate({rooms.rows.size(), width_}); }
    /// Whether something changes the gradient on its way from where x was added towards f.
    bool splits_gradient_at_residual() const;

    std::string pre_, post_;
    std::size_t width_;
    double dropout_;
    std::uint32_t place_;
    std::unique_ptr<Norm> norm_;  ///< none where the strings have no 'n'
    std::unique_ptr<Layer> inner_;
};

}  // namespace ulmpi
