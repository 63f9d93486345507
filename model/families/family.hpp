#pragma once
// A family of models says which modules follow one another, in which group, on which stage. Stage's constructor chooses
// the family. Training relies on its groups: 0 lies lowest, block b is group b + 1, a head layers + 1.

#include <memory>
#include <optional>
#include <vector>

#include "model/batch_plan.hpp"
#include "model/carried_states.hpp"
#include "model/config.hpp"
#include "model/layers/classifier_head.hpp"
#include "model/layers/head.hpp"
#include "model/layers/module.hpp"
#include "model/parameters.hpp"

namespace ulmpi {

/// What the model ends in: a language model head, or a classifier.
using HeadConfig = std::optional<ClassifierConfig>;

struct GroupedModule {
    int group;  ///< of its parameters: the lowest group is the first to be frozen
    std::unique_ptr<Module> module;
};

/// What one stage computes. Its parameters are declared in the store that it was made with.
struct StageModules {
    std::vector<GroupedModule> modules;  ///< in the order of forward; groups do not fall
    int group_before = -1;               ///< the highest group of the stage before; -1: this is the first
    /// What crosses the edges to the stages before and behind. The last stage's `out` crosses none: it says which lanes
    /// have gradients when backward begins, the head's for hidden, zeros for others.
    FlowShape in = {}, out = {};
    std::vector<StateShape> states;              ///< that the modules carry along streams
    std::unique_ptr<Head> head;                  ///< on the last stage
    const ClassifierHead* classifier = nullptr;  ///< the head, if it is one
    /// The tied copy of the token embedding on a last stage that is not the first, or on the first: to be summed.
    std::optional<ParameterId> shared_embedding = std::nullopt;
};

}  // namespace ulmpi
