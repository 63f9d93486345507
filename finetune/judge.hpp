#pragma once
// What a trained classifier says of labelled rows.

#include <optional>
#include <vector>

#include "data/labelled_set.hpp"
#include "finetune/classifier.hpp"
#include "pretrain/inference.hpp"
#include "pretrain/interruption.hpp"

namespace ulmpi {

/// Class probabilities of the rows, (rows, classes); these were encoded with its tokenizer, have its classes and, for a
/// wide classifier, their texts. None
/// if it was left off. Collective; alike on all ranks.
std::optional<std::vector<float>> judge(const StoredModel& stored, const StoredClassifier& classifier,
                                        const LabelledSet& rows, const LayoutOptions& layout, const Communicator& world,
                                        const LeaveOff& leave_off = {});

}  // namespace ulmpi
