#pragma once
// Tokens to activations: x = scale E[token] (+ position), then dropout; of a recurrent model rows of E are dropped
// instead, for a whole pass (Gal & Ghahramani 2016). The vocabulary is split over slices.

#include <memory>
#include <string>

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

/// Which tokens are embedded, and where to. One of the sources stands inside OfSources (source_side.hpp).
struct EmbeddingPlace {
    Side side = Side::inputs;
    Lane lane = Lane::hidden;
    std::string prefix = {};          ///< of the name of learned positions: "encoder."
    std::size_t context = 0;          ///< positions; 0: the model's
    std::uint32_t dropout_place = 0;  ///< in the whole model
};

class Embedding : public Module {
public:
    Embedding(ParameterStore& store, const ModelConfig& config, ParameterId tokens, int slice, int slices,
              const EmbeddingPlace& place = {});
    void plan_forward(Rooms& rooms) const override { keep(rooms); }
    void plan_backward(Rooms&) const override {}
    void forward(Flow& flow, Context& context) const override;
    /// The gradient is used up.
    void backward(Flow& gradient, Context& context) const override;

private:
    const std::vector<Token>& tokens_of(const MicroBatch& batch) const {
        return side_ == Side::inputs ? batch.inputs : batch.sources;
    }
    /// What row `id` of E is multiplied by.
    Real row_factor(std::size_t id, const Context& context) const;
    View<Real> keep(Rooms& rooms) const { return rooms.kept.allocate({rooms.all_rows(), width_}); }

    ParameterStore& store_;
    std::size_t width_;
    Side side_;
    Lane lane_;
    Real scale_;  ///< of E: sqrt(d) as Vaswani et al. have it, or 1
    double dropout_;
    std::uint32_t dropout_place_;
    bool drops_rows_;
    Range ids_;  ///< this slice's
    PositionEmbedding position_;
    ParameterId tokens_, positions_{};
    std::vector<Real> sinusoid_;  ///< (context, d)
};

}  // namespace ulmpi
