#pragma once
// Language model head: final norm, logits h E^T (+ b) over a slice of the vocabulary, cross-entropy.

#include <memory>
#include <optional>

#include "model/config.hpp"
#include "model/layers/head.hpp"
#include "model/layers/norm.hpp"
#include "model/parameters.hpp"

namespace ulmpi {

/// Rows whose logits live at a time: about 100 MB of them, between 128 and 1024 rows.
std::size_t logit_chunk_rows(std::size_t rows, std::size_t ids);

class LmHead : public Head {
public:
    /// `output` is (V, d), this slice's rows: the token embedding when tied. `norm` may be null, `bias` (V) none.
    LmHead(ParameterStore& store, const ModelConfig& config, ParameterId output, std::unique_ptr<Norm> norm, int slice,
           int slices, std::optional<ParameterId> bias = std::nullopt);
    void plan(Rooms& rooms, bool training) const override;
    void forward(View<Real> gradient, View<Real> x, Context& context) const override;
    void predict(View<Real> scores, View<Real> x, Context& context) const override;
    std::size_t outputs() const override { return vocabulary_; }

private:
    /// Of a chunk of rows but the first: statistics of the norm of all rows; hidden states, and those rounded; logits.
    struct Room {
        View<Real> statistics, h, logits, maximum, sums, scale;
        View<BFloat16> rounded;
    };
    Room room(Rooms& rooms) const;
    /// The last state of each sequence, and the statistics of all.
    struct LastRows {
        View<Real> statistics, h;
    };
    LastRows last_rows(Rooms& rooms) const;
    /// Of the rows of a chunk, with l = logit - maximum; sums, a row each: sum of exp l, l of the target, sum of l
    /// (where targets are smoothed).
    struct Softmax {
        View<Real> maximum, sums;
    };
    /// Of the worker's rows, combined over slices. logits become exp l.
    void softmax(Softmax s, View<Real> logits, const Token* targets, Range mine, double smoothing,
                 Context& context) const;
    double loss_of(const Softmax& s, std::size_t row, double smoothing) const;
    /// The logits' gradients of the worker's rows, from exp l.
    void gradient_of(const Softmax& s, View<Real> logits, const Real* scale, const Token* targets, Range mine,
                     double smoothing) const;

    void add_bias_gradient(View<const Real> dlogits, const Context& context) const;

    ParameterStore& store_;
    std::size_t vocabulary_, width_;
    Range ids_;
    ParameterId output_;
    std::optional<ParameterId> bias_;
    std::unique_ptr<Norm> norm_;
};

/// Declares "output.weight" [V, d] of an untied model.
ParameterId declare_output(ParameterStore& store, const ModelConfig& config, int slice, int slices);
/// Declares "output.bias" [V].
ParameterId declare_output_bias(ParameterStore& store, const ModelConfig& config, int slice, int slices);

}  // namespace ulmpi
