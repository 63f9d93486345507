#pragma once
// Pipeline schedules as data: a list of actions a stage plays in order. Pure functions, tested without MPI.

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace ulmpi {

enum class Pass { forward, backward };

/// One micro-batch going through a stage one way.
struct Action {
    Pass pass;
    int micro_batch;
    friend bool operator==(const Action&, const Action&) = default;
};

enum class PipelineSchedule { gpipe, one_forward_one_backward };

inline PipelineSchedule pipeline_schedule_from(const std::string& name) {
    if (name == "gpipe") return PipelineSchedule::gpipe;
    if (name == "1f1b") return PipelineSchedule::one_forward_one_backward;
    throw UsageError("--pipeline-schedule " + name + " is unknown: choose gpipe or 1f1b");
}

/// GPipe (Huang et al. 2019): every forward, then every backward; with more than `at_most` micro-batches, so many at a
/// time.
inline std::vector<Action> gpipe(int micro_batches, int at_most) {
    std::vector<Action> actions;
    for (int first = 0; first < micro_batches; first += at_most) {
        const int last = std::min(micro_batches, first + at_most);
        for (int m = first; m < last; ++m) actions.push_back({Pass::forward, m});
        for (int m = first; m < last; ++m) actions.push_back({Pass::backward, m});
    }
    return actions;
}

/// 1F1B (PipeDream-flush, Narayanan et al. 2021): warm up until the pipeline is full, then one forward, one backward,
/// then drain. At most stages - stage micro-batches are in flight.
inline std::vector<Action> one_forward_one_backward(int stage, int stages, int micro_batches) {
    const int warm_up = std::min(stages - stage - 1, micro_batches);
    std::vector<Action> actions;
    for (int m = 0; m < warm_up; ++m) actions.push_back({Pass::forward, m});
    for (int m = 0; m < micro_batches - warm_up; ++m) {
        actions.push_back({Pass::forward, warm_up + m});
        actions.push_back({Pass::backward, m});
    }
    for (int m = micro_batches - warm_up; m < micro_batches; ++m) actions.push_back({Pass::backward, m});
    return actions;
}

/// `at_most` is how many micro-batches GPipe may have in flight; 1F1B has no more than there are stages.
inline std::vector<Action> training_actions(PipelineSchedule schedule, int stage, int stages, int micro_batches,
                                            int at_most) {
    return schedule == PipelineSchedule::gpipe ? gpipe(micro_batches, at_most)
                                               : one_forward_one_backward(stage, stages, micro_batches);
}

/// Forward alone, of some micro-batches.
inline std::vector<Action> forward_of(const std::vector<int>& micro_batches) {
    std::vector<Action> actions;
    for (int m : micro_batches) actions.push_back({Pass::forward, m});
    return actions;
}

/// A stage below everything that is trained, or one that only evaluates, plays the forwards alone.
inline std::vector<Action> forward_only(std::vector<Action> actions) {
    std::erase_if(actions, [](const Action& action) { return action.pass == Pass::backward; });
    return actions;
}

/// How many micro-batches are under way at most: forward done, backward not. The slots a stage must hold.
inline int most_in_flight(const std::vector<Action>& actions) {
    int now = 0, most = 1;
    bool any_backward = false;
    for (const Action& action : actions) {
        now += action.pass == Pass::forward ? 1 : -1;
        any_backward |= action.pass == Pass::backward;
        most = std::max(most, now);
    }
    return any_backward ? most : 1;
}

}  // namespace ulmpi
