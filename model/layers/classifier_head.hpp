#pragma once
// Classifier head (Howard & Ruder 2018, section 3.3): concat pooling over a document's tokens, then two blocks of
// normalisation, dropout and a linear layer, ReLU between them; cross-entropy against a target t over the classes,
// which sums to one: onehot(label); with label smoothing e (Szegedy et al. 2016, section 7) (1 - e) onehot(label) + e /
// classes; or a soft label of the document's own. Its loss and the gradient by the scores s,
//   log Z - sum_c t_c s_c   and   p - t,   p = exp(s) / Z,
// are both times the weight of the label's class.

#include <memory>
#include <optional>
#include <string>

#include "model/config.hpp"
#include "model/layers/head.hpp"
#include "model/layers/head_norm.hpp"
#include "model/layers/norm.hpp"
#include "model/layers/pooling.hpp"
#include "model/parameters.hpp"

namespace ulmpi {

struct ClassifierConfig {
    std::size_t classes = 0, hidden = 50;
    Pooling pooling = Pooling::concat;
    HeadNormKind norm = HeadNormKind::layernorm;
    double dropout1 = 0.4, dropout2 = 0.1;  ///< before the first and the second linear layer
    bool wide = false;                      ///< scores of another model, the micro-batch's offsets, are added
    friend bool operator==(const ClassifierConfig&, const ClassifierConfig&) = default;
};

/// What the head has to know of each document that it judges.
struct Documents {
    std::vector<std::int32_t> labels;
    std::vector<std::uint32_t> places;  ///< of its first chunk in the GLOBAL batch: names its dropout masks
    std::vector<float> offsets;         ///< (documents, classes), or empty
    std::vector<float> soft_labels;     ///< (documents, classes), or empty
    std::size_t size() const { return places.size(); }
    Documents part(Range range) const;
};

/// Small beside the encoder: every slice computes it whole, one worker the two blocks. Parameters "classifier.norm1",
/// "classifier.hidden", "classifier.norm2", "classifier.output", group L + 1; a wide one's scores have `scale` times
/// the offsets added, with the one number "classifier.wide.scale" that begins as 1.
class ClassifierHead : public Head {
public:
    /// `norm` is the encoder's final norm; may be null.
    ClassifierHead(ParameterStore& store, const ModelConfig& model, const ClassifierConfig& config,
                   std::unique_ptr<Norm> norm, bool first_slice);
    void plan(Rooms& rooms, bool training) const override;
    void forward(View<Real> gradient, View<Real> x, Context& context) const override;
    void predict(View<Real> scores, View<Real> x, Context& context) const override;
    std::size_t outputs() const override { return config_.classes; }

    // Documents with chunks in several micro-batches. Forward of each such micro-batch pools, in their order; when all
    // have gone by, the head judges the documents; backward of each micro-batch then begins with what they left.

    DocumentPools allocate_pools(std::size_t documents, Arena& arena) const {
        return DocumentPools::allocate(documents, config_.pooling, width_, arena);
    }
    /// All workers: `pools`, which has a row for each document of the micro-batch, takes up its chunks.
    void pool_chunks(const DocumentPools& pools, View<Real> x, Context& context) const;
    /// One worker, `at_a_time` documents at a time in the arena. Returns the sum of their losses; when training, adds
    /// to the head's gradients, and pools.pooled becomes the gradient of itself.
    double judge(const DocumentPools& pools, const Documents& documents, const PassOptions& options,
                 std::size_t at_a_time, Arena& arena) const;
    /// One worker: their class probabilities instead, (documents, classes).
    void predict(View<Real> probabilities, const DocumentPools& pools, const Documents& documents,
                 const PassOptions& options, std::size_t at_a_time, Arena& arena) const;
    /// All workers: dL/dx of the micro-batch's chunks from the gradients in `pools`, rows as above.
    void spread_gradient(View<Real> gradient, const DocumentPools& pools, View<Real> x, Context& context) const;

private:
    struct Affine {
        ParameterId weight, bias;
    };
    /// The states that are pooled, and what their normalisation keeps for backward.
    struct Encoded {
        View<Real> h, statistics;
    };
    /// What the two blocks compute for pooled documents, one row each. softmax: maximum, sum, target, scale.
    struct Activations {
        View<Real> pooled, statistics1, z1, a, statistics2, z2, scores, softmax;
    };
    Encoded encoded(Rooms& rooms) const;
    Activations allocate(View<Real> pooled, Arena& arena) const;
    Affine declare_linear(const std::string& name, std::size_t out, std::size_t in, bool first_slice) const;
    std::size_t pooled_width() const { return ulmpi::pooled_width(config_.pooling, width_); }
    Encoded encode(View<Real> x, Context& context) const;
    void add_offsets(View<Real> scores, std::span<const float> offsets) const;
    void drop(View<Real> y, int which, const Documents& documents, const PassOptions& options) const;
    void blocks_forward(const Activations& act, const Documents& documents, const PassOptions& options) const;
    /// Turns act.scores from class weights × (p - targets) into gradients; returns dpooled in act.z1.
    void blocks_backward(const Activations& act, const Documents& documents, const PassOptions& options) const;
    /// Both, with cross-entropy between them. Returns the sum of the losses.
    double judge_rows(const Activations& act, const Documents& documents, const PassOptions& options) const;
    void predict_rows(View<Real> probabilities, const Activations& act, const Documents& documents,
                      const PassOptions& options) const;
    void encoder_backward(View<Real> gradient, View<const Real> dpooled, View<const std::int32_t> argmax,
                          const Encoded& encoded, View<Real> x, Context& context) const;

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
    std::optional<ParameterId> offset_scale_;
};

}  // namespace ulmpi
