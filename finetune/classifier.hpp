#pragma once
// Stage 3's command, and what a classifier's checkpoint says of its head.

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "finetune/classifier_task.hpp"
#include "finetune/stacking.hpp"
#include "model/layers/classifier_head.hpp"
#include "training/inference.hpp"

namespace ulmpi {

/// What `ulmpi finetune classifier` can be told. In the constructor: the defaults.
struct ClassifierStageOptions : StageOptions {
    ClassifierStageOptions();
    void declare(OptionTable& table);

    std::string tokenizer, train, valid, test;
    std::string pooling = "concat", class_weights = "none", head_norm = "layernorm";
    std::size_t max_length = 0;
    std::string recipe = "best";
    std::optional<int> epochs;
    bool wide_features = false;
    std::size_t reinit_blocks = 0;
    std::string distill_from, distill_text;
    double distill_weight = 0.9;
    ClassifierConfig head;
    ClassifierOptions classifier;
};

struct StoredClassifier {
    ClassifierConfig head;
    std::vector<std::string> classes;
    std::size_t max_length = 0;               ///< tokens of a text that it was trained to read; 0: all
    std::optional<std::size_t> members = {};  ///< of an ensemble (checkpoints/ensemble.hpp),
    Stack stack = {};                         ///< and how their mean is mixed with a model of words
    /// Whether it must be given the texts beside their tokens.
    bool reads_words() const { return head.wide || stack.words > 0; }
};
/// UsageError if the checkpoint holds no classifier.
StoredClassifier classifier_from(const StoredModel& stored);

struct ClassifierRequest;
/// `ulmpi finetune classifier …`. Returns the exit status.
int train_classifier(std::span<const std::string> arguments, const Communicator& world);
/// The same of what was asked for already.
int train_classifier(const ClassifierRequest& asked, const StopSignals& signals, const Communicator& world);

}  // namespace ulmpi
