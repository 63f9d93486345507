#pragma once
// Classifier head (Howard & Ruder 2018, section 3.3): concat pooling over a sequence's real positions, then two blocks
// of normalisation, dropout and a linear layer, ReLU between them; cross-entropy over the classes.

#include <memory>
#include <string>

#include "model/config.hpp"
#include "model/layers/head.hpp"
#include "model/layers/head_norm.hpp"
#include "model/layers/norm.hpp"
#include "model/parameters.hpp"

namespace ulmpi {

enum class Pooling { concat, last, max, mean, first };
Pooling pooling_from(const std::string& name);  ///< UsageError naming --pooling and its values
std::string to_string(Pooling);

struct ClassifierConfig {
    std::size_t classes = 0, hidden = 50;
    Pooling pooling = Pooling::concat;
    HeadNormKind norm = HeadNormKind::layernorm;
    double dropout1 = 0.4, dropout2 = 0.1;  ///< before the first and the second linear layer
};

/// Small beside the encoder: every slice computes it whole, one worker the two blocks. Parameters "classifier.norm1",
/// "classifier.hidden", "classifier.norm2", "classifier.output", group L + 1.
class ClassifierHead : public Head {
public:
    /// `norm` is the encoder's final norm; may be null.
    ClassifierHead(ParameterStore& store, const ModelConfig& model, const ClassifierConfig& config,
                   std::unique_ptr<Norm> norm, bool first_slice);
    void forward(View<Real> gradient, View<Real> x, Context& context) const override;
    void predict(View<Real> scores, View<Real> x, Context& context) const override;
    std::size_t outputs() const override { return config_.classes; }

private:
    struct Affine {
        ParameterId weight, bias;
    };
    /// What the two blocks compute for a batch of pooled sequences, one row a sequence.
    struct Activations {
        View<Real> pooled, statistics1, z1, a, statistics2, z2, scores;
    };
    Activations allocate(std::size_t sequences, Arena& arena) const;
    Affine declare_linear(const std::string& name, std::size_t out, std::size_t in, bool first_slice) const;
    std::size_t pooled_width() const { return width_ * (config_.pooling == Pooling::concat ? 3 : 1); }
    void encode(View<Real> h, View<Real> statistics, View<Real> x, Context& context) const;
    void pool(View<Real> pooled, View<std::int32_t> argmax, View<const Real> h, const Context& context) const;
    void pool_backward(View<Real> dh, View<const Real> dpooled, View<const std::int32_t> argmax,
                       const Context& context) const;
    void drop(View<Real> y, int which, const Context& context) const;
    void blocks_forward(const Activations& act, const Context& context) const;
    /// Turns act.scores from class weights × (p - onehot) into gradients; returns dpooled in act.z1.
    void blocks_backward(const Activations& act, const Context& context) const;

    ParameterStore& store_;
    ClassifierConfig config_;
    std::size_t width_;
    int encoder_group_;  ///< of the last block: the lowest that needs this head's gradient
    std::uint32_t first_place_;
    std::unique_ptr<Norm> encoder_norm_;
    HeadNorm norm1_;
    Affine linear1_;
    HeadNorm norm2_;
    Affine linear2_;
};

}  // namespace ulmpi
