#pragma once
// Tokens to activations: x = E[token] (+ position), then dropout; of a recurrent model rows of E are dropped instead,
// for a whole pass (Gal & Ghahramani 2016). The vocabulary is split over slices.

#include <memory>

#include "model/config.hpp"
#include "model/context.hpp"
#include "model/layers/module.hpp"
#include "model/parameters.hpp"

namespace ulmpi {

/// Declares "token_embedding" [V, d], this slice's rows. The first stage counts it; a last stage that ties its output
/// to it holds a copy.
ParameterId declare_token_embedding(ParameterStore& store, const ModelConfig& config, int slice, int slices,
                                    bool counted);

/// The ids that slice `slice` holds.
Range vocabulary_slice(const ModelConfig& config, int slice, int slices);

class Embedding : public Module {
public:
    Embedding(ParameterStore& store, const ModelConfig& config, ParameterId tokens, int slice, int slices);
    void plan_forward(Rooms& rooms) const override { keep(rooms); }
    void plan_backward(Rooms&) const override {}
    void forward(Flow& flow, Context& context) const override;
    /// The gradient is used up.
    void backward(Flow& gradient, Context& context) const override;

private:
    /// What row `id` of E is multiplied by.
    Real row_factor(std::size_t id, const Context& context) const;
    View<Real> keep(Rooms& rooms) const { return rooms.kept.allocate({rooms.all_rows(), width_}); }

    ParameterStore& store_;
    std::size_t width_;
    double dropout_;
    bool drops_rows_;
    Range ids_;  ///< this slice's
    PositionEmbedding position_;
    ParameterId tokens_, positions_{};
    std::vector<Real> sinusoid_;  ///< (context, d)
};

}  // namespace ulmpi
