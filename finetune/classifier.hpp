#pragma once
// Stage 3's command, and what a classifier's checkpoint says of its head.

#include <span>
#include <string>
#include <vector>

#include "model/layers/classifier_head.hpp"
#include "pretrain/inference.hpp"

namespace ulmpi {

int train_classifier(std::span<const std::string> arguments, const Communicator& world);

struct StoredClassifier {
    ClassifierConfig head;
    std::vector<std::string> classes;
    std::size_t max_length = 0;
};
/// UsageError if the checkpoint holds no classifier.
StoredClassifier classifier_from(const StoredModel& stored);

}  // namespace ulmpi
