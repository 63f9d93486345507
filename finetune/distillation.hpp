#pragma once
// Distillation (Hinton, Vinyals & Dean 2015, without a temperature): a classifier learns what another one, its teacher,
// says of texts. A teacher is any classifier of the same classes, with whatever tokenizer and size: an ensemble, so
// that one network does what several did, or a large one. Texts without labels teach as well as those that have one.
//
//   t_i = (1 - w) onehot(label_i) + w p_i   of a labelled text,   t_i = p_i   of any other
//
// p: the teacher's class probabilities, w: --distill-weight; the loss is cross-entropy against t
// (model/layers/classifier_head.hpp).

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/labelled_set.hpp"
#include "finetune/classifier_spec.hpp"
#include "training/interruption.hpp"

namespace ulmpi {

/// The teacher's class probabilities of texts that every rank has, (texts, classes), the classes in the order of
/// `classes`; none if it was left off. Collective; UsageError alike on every rank: no classifier, other classes.
std::optional<std::vector<float>> said_by_teacher(const std::string& teacher, std::span<const std::string> texts,
                                                  const std::vector<std::string>& classes, const LayoutOptions& layout,
                                                  const Communicator& world, const LeaveOff& leave_off = {});

/// t of every record, (records, classes); the first `labelled` have a label.
std::vector<float> soft_labels(std::span<const float> said, std::span<const std::int32_t> labels, std::size_t labelled,
                               std::size_t classes, double weight);

/// What the run's teacher says of its training set, (records, classes), on every rank: `stored`, where rank 0's
/// checkpoint holds it, or asked now. Takes the texts away, and gives records without a label the likeliest one. None
/// if a signal came meanwhile. Collective; UsageError alike on every rank.
std::optional<std::vector<float>> taught(ClassifierSets& sets, const ClassifierSpec& spec,
                                         const std::vector<float>& stored, const StopSignals& signals,
                                         const Communicator& world);

}  // namespace ulmpi
