#pragma once
// What a trained classifier says of texts.

#include <memory>
#include <optional>
#include <vector>

#include "data/labelled_set.hpp"
#include "finetune/classifier.hpp"
#include "finetune/linear_model.hpp"
#include "training/inference.hpp"
#include "training/interruption.hpp"

namespace ulmpi {

/// Of rows, by classes.
struct Judgement {
    std::vector<float> network;        ///< probabilities; of several members their geometric mean
    std::vector<float> words;          ///< logarithms of probabilities; empty: there is no model of words
    std::vector<float> probabilities;  ///< of both, stacked; a classifier that is no ensemble: its own
};

/// A stored classifier, ready to be asked. The members of an ensemble are loaded one after the other into the memory of
/// one, each for all rows that are asked about at a time.
class Judge {
public:
    /// `rows`: that will be asked about at a time. The stored model must outlive this. Collective; UsageError alike on
    /// every rank: a layout that does not fit the model or the memory, a model of words that is missing.
    Judge(const StoredModel& stored, const StoredClassifier& classifier, const LayoutOptions& options, std::size_t rows,
          const Communicator& world);

    /// The rows were encoded with its tokenizer, have its classes and, for one that reads words, their texts. None if
    /// it was left off. Collective; alike on all ranks.
    std::optional<Judgement> ask(const LabelledSet& rows, const LeaveOff& leave_off = {});

    const RankModel& model() const { return *model_; }

private:
    std::optional<std::vector<float>> ask_member(std::size_t member, const LabelledSet& rows,
                                                 std::span<const float> words, const LeaveOff& leave_off);

    const StoredModel& stored_;
    const StoredClassifier classifier_;
    const std::size_t micro_batch_;
    const Communicator& world_;
    std::optional<LinearModel> words_;
    std::unique_ptr<RankModel> model_;
    std::optional<std::size_t> loaded_;  ///< the member whose weights it has
};

}  // namespace ulmpi
