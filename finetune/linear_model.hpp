#pragma once
// A linear classifier of texts by their n-grams of words, and of letters within words: TF-IDF features, logistic
// regression.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "finetune/word_features.hpp"

namespace ulmpi {

/// How a linear model was fitted.
struct LinearSummary {
    std::uint64_t rows = 0;             ///< that it was fitted to
    std::uint64_t folds = 0;            ///< that were held out in turn
    double strength = 0, emphasis = 0;  ///< chosen by the loss on held-out rows (finetune/linear_fit.hpp)
    double loss = 0, error = 0;         ///< mean cross-entropy in nats and share of errors on held-out rows
};

/// score_c = b_c + sum_j x_j w_jc / |x|,  x_j = value_of(j) idf_j,  idf_j = log((1 + rows) / (1 + texts_j)) + 1
/// over the n-grams that training knows. The last class has w = b = 0, since scores count up to a common term alone.
class LinearModel {
public:
    /// What a model is made of. `hashes` ascend; `weights` are (columns, classes - 1).
    struct Parts {
        std::uint64_t classes = 2;
        NgramKinds kinds = 1;
        LinearSummary summary;
        std::vector<float> bias;            ///< (classes - 1)
        std::vector<std::uint64_t> hashes;  ///< of the columns
        std::vector<std::uint32_t> texts;   ///< how many of the rows have each, at least 1
        std::vector<float> weights;
    };
    explicit LinearModel(Parts parts);

    std::size_t classes() const { return classes_; }
    NgramKinds kinds() const { return kinds_; }
    std::size_t columns() const { return texts_.size(); }
    const LinearSummary& summary() const { return summary_; }
    /// Log-probabilities of the classes.
    void log_probabilities(std::span<float> out, std::string_view text) const;
    /// The same for many texts: (texts, classes).
    std::vector<float> log_probabilities(std::span<const std::string> texts, int threads) const;

    /// As a checkpoint keeps it (docs/checkpoints.md); the same bytes again from what was read.
    std::string bytes() const;
    /// Throws UsageError if the bytes are not whole, or of a newer version.
    static LinearModel from_bytes(std::string_view bytes);
    std::size_t memory_bytes() const;

private:
    std::size_t classes_;
    NgramKinds kinds_;
    LinearSummary summary_;
    std::vector<float> bias_;
    HashIndex index_;
    std::vector<std::uint32_t> texts_;
    std::vector<float> importance_;  ///< idf
    std::vector<float> weights_;
};

/// x - log sum exp x, in place.
void normalise_scores(std::span<double> scores);

}  // namespace ulmpi
