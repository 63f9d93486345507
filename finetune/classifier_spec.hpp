#pragma once
// What a run of stage 3 is.

#include <optional>
#include <string>
#include <vector>

#include "data/labelled_set.hpp"
#include "finetune/classifier.hpp"
#include "training/run_spec.hpp"

namespace ulmpi {

/// What was asked of the stage: options, and the table bound to them that knows where each came from. A value: the
/// table of a copy is bound to the copy.
struct ClassifierRequest {
    ClassifierRequest();
    ClassifierRequest(const ClassifierRequest& other);

    ClassifierStageOptions options;
    OptionTable table;
};

/// What the run learns from a classifier that is there already (finetune/distillation.hpp).
struct Distillation {
    std::string teacher;  ///< run or checkpoint; empty: there is none
    double weight = 0;    ///< share of a labelled text's target
    LayoutOptions layout = {};
    explicit operator bool() const { return !teacher.empty(); }
};

struct ClassifierSpec : RunSpec {
    std::string train, valid, test;  ///< labelled sets; the last two may be empty
    std::vector<std::string> classes = {};
    std::size_t max_length = 0;  ///< longer texts are cut; 0: none
    ClassifierOptions classifier = {};
    Distillation distillation = {};
    bool balanced = false;  ///< the classes' weights are to be those of balanced_class_weights
};

/// The labelled sets of a run, read and encoded.
struct ClassifierSets {
    LabelledSet train;  ///< and behind its `labelled` records those of --distill-text, whose labels mean nothing
    std::optional<LabelledSet> valid, test;
    std::size_t labelled = train.size();
};

/// What was asked for, with what the source says where nothing was given; all checks that need no data. Pure; throws
/// UsageError, as does all that follows.
ClassifierRequest settled(const ClassifierRequest& asked, const Facts& facts);

/// Reads the sets, and the tokenizer where no source has brought one, and adds what they say. One rank.
ClassifierSets read_inputs(const ClassifierRequest& asked, Facts& facts, std::optional<Tokenizer>& tokenizer);

/// The run that was asked for. Pure.
ClassifierSpec resolve(const ClassifierRequest& asked, const Facts& facts);

/// What its checkpoints say.
RunRecord record_of(const ClassifierSpec& spec);

/// Those of rank 0 on every rank. Collective.
void broadcast(ClassifierSets& sets, const ClassifierSpec& spec, const Communicator& ranks);

}  // namespace ulmpi
