#pragma once
// Stage 3: a classifier is trained on labelled texts.

#include <algorithm>
#include <optional>

#include "data/document_batches.hpp"
#include "data/labelled_set.hpp"
#include "finetune/classification_report.hpp"
#include "finetune/unfreezing.hpp"
#include "training/trainer.hpp"

namespace ulmpi {

/// Tokens of a sequence at most: of texts cut at `max_length` tokens (0: not cut), read in a context of so many.
constexpr std::size_t longest_sequence(std::size_t max_length, std::size_t context) {
    return max_length == 0 ? context : std::min(max_length, context);
}

/// The largest pass of classify().
PassPlan prediction_plan(std::size_t micro_batch, std::size_t length, int pipeline);
/// The largest pass of a step on `replica_rows` records, or of classify() in between. `longest`: tokens of the longest
/// records, falling; were there more, they would be as long as the last.
PassPlan training_plan(std::span<const std::uint32_t> longest, std::size_t replica_rows, const Reading& reading,
                       std::size_t length, int pipeline);

/// Class probabilities of every record, of whatever length, (set.size(), classes), on every rank. `offsets`: what a
/// wide head adds to their scores, (set.size(), classes), or empty. Collective.
std::optional<std::vector<float>> classify(RankModel& model, const LabelledSet& set, std::span<const float> offsets,
                                           std::size_t classes, std::size_t micro_batch, Token padding,
                                           const LeaveOff& leave_off = {});

/// Factors on the loss: n / (classes * n_c), so that each class weighs alike; a class that does not occur gets 0.
std::vector<float> balanced_class_weights(const LabelledSet& set);

/// Updates of a pass over so many records.
constexpr std::uint64_t steps_of_epoch(std::uint64_t records, std::uint64_t global_batch) {
    return (records + global_batch - 1) / global_batch;
}

/// What a wide head adds to the scores of the sets' records, (records, classes) each; empty: nothing.
struct WideScores {
    std::vector<float> train, valid, test;
};

struct ClassifierOptions {
    bool gradual_unfreezing = true;
    double discriminative_factor = 2.6;
    int epochs = 8;
    std::vector<float> class_weights;  ///< empty: 1
    double label_smoothing = 0;        ///< share of a target that all classes have alike
    WideScores wide = {};
    std::vector<float> soft_labels = {};  ///< targets of the records, (records, classes); empty: their labels
    std::size_t micro_batch = 16;
    Token padding = 0;
};

class ClassifierTask : public TrainingTask {
public:
    /// The sets must outlive this; valid and test may be null.
    ClassifierTask(RankModel& model, const LabelledSet& train, const LabelledSet* valid, const LabelledSet* test,
                   const TrainingOptions& training, const ClassifierOptions& options);
    std::uint64_t steps() const override { return steps_per_epoch_ * static_cast<std::uint64_t>(options_.epochs); }
    StepPlan plan(std::uint64_t step) const override;
    std::vector<float> class_weights() const override { return options_.class_weights; }
    double label_smoothing() const override { return options_.label_smoothing; }
    const char* loss_name() const override {
        return options_.soft_labels.empty() ? TrainingTask::loss_name() : "distilled loss";
    }
    double flops(std::uint64_t) const override { return 0; }  // groups are frozen, rows padded
    bool evaluates() const override { return valid_ != nullptr || test_ != nullptr; }
    std::optional<std::vector<Record>> evaluate(bool last, const LeaveOff& leave_off) override;
    /// Of the last evaluation of the test set.
    const std::optional<ClassificationReport>& test_report() const { return test_report_; }

private:
    GroupRates rates(std::uint64_t step) const;
    std::optional<ClassificationReport> report(const LabelledSet& set, std::span<const float> offsets,
                                               const LeaveOff& leave_off);

    RankModel& model_;
    const LabelledSet& train_;
    const LabelledSet *valid_, *test_;
    const TrainingOptions& training_;
    ClassifierOptions options_;
    std::vector<std::uint32_t> lengths_;
    std::uint64_t steps_per_epoch_;
    std::vector<UnfreezingPhase> phases_;
    mutable std::uint64_t epoch_ = ~std::uint64_t{0};  ///< whose batches are below
    mutable std::vector<std::vector<std::uint32_t>> batches_;
    std::optional<ClassificationReport> test_report_;
};

}  // namespace ulmpi
