#pragma once
// What an encoder-decoder is made of beside layers: modules that work on the sources, and the end of the encoder.

#include <memory>

#include "model/layers/module.hpp"
#include "model/layers/norm.hpp"

namespace ulmpi {

/// The module inside works on the rows of the sources.
class OfSources : public Module {
public:
    explicit OfSources(std::unique_ptr<Module> inner) : inner_(std::move(inner)) {}
    void plan_forward(Rooms& rooms) const override;
    void plan_backward(Rooms& rooms) const override;
    void forward(Flow& flow, Context& context) const override;
    void backward(Flow& gradient, Context& context) const override;

private:
    std::unique_ptr<Module> inner_;
};

/// The encoder's states, normalised where its blocks normalise before their sublayers, become the memory, and the
/// embedded target the states that the decoder begins with. Works on the rows of the sources.
class EncoderEnd : public Module {
public:
    /// `norm` may be null.
    EncoderEnd(std::size_t width, std::unique_ptr<Norm> norm) : width_(width), norm_(std::move(norm)) {}
    void plan_forward(Rooms& rooms) const override;
    void plan_backward(Rooms& rooms) const override;
    void forward(Flow& flow, Context& context) const override;
    void backward(Flow& gradient, Context& context) const override;

private:
    struct EndKept {
        View<Real> memory, statistics;
    };
    EndKept keep(Rooms& rooms) const;

    std::size_t width_;
    std::unique_ptr<Norm> norm_;
};

}  // namespace ulmpi
