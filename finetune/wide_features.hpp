#pragma once
// A classifier's wide side (Cheng et al. 2016): a linear model of words (finetune/linear_fit.hpp), fitted before the
// network is trained. Its log-probabilities are added to the network's scores, times a number that is learned. In
// training each text comes with what was said of it while it was held out, so that the network learns what words leave
// open on texts that are new to them.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "checkpoints/checkpoint.hpp"
#include "finetune/classifier_spec.hpp"
#include "finetune/linear_fit.hpp"

namespace ulmpi {

struct WideFeatures {
    LinearModel model;
    WideContent content;  ///< as checkpoints hold it
    WideScores scores;    ///< of the run's sets
    std::size_t bytes() const;
    /// "wide features: 12.3 K n-grams of 1 to 2 words in 500 texts, 1.2 MB; error 17.2 % on held-out texts".
    std::string description() const;
};

/// Those of the run, its sets having their texts: fitted to the training set, or what its checkpoint holds. The
/// checkpoint's are rank 0's. Takes the texts away. Collective; UsageError alike on all ranks if the checkpoint's do
/// not fit the training set.
WideFeatures wide_features(ClassifierSets& sets, const ClassifierSpec& spec, const WideContent& stored,
                           const Communicator& world);

/// The linear model of a checkpoint, for a classifier of so many classes; UsageError if there is none.
LinearModel linear_model_of(const CheckpointInfo& info, std::size_t classes);

/// What it says of texts, (texts, classes), by all ranks, each of which has the texts. Collective.
std::vector<float> wide_scores(const LinearModel& model, std::span<const std::string> texts, int threads,
                               const Communicator& world);

}  // namespace ulmpi
