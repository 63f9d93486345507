#pragma once
// Pipeline schedules as data: a list of actions a stage plays in order. Pure functions, tested without MPI.

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace ulmpi {

/// weights: gradients of weights alone; in a schedule that has this pass, `backward` computes gradients of inputs
/// alone.
enum class Pass { forward, backward, weights };

/// One micro-batch going through a stage one way.
struct Action {
    Pass pass;
    int micro_batch;
    friend bool operator==(const Action&, const Action&) = default;
};

enum class PipelineSchedule { gpipe, one_forward_one_backward, zero_bubble };

inline PipelineSchedule pipeline_schedule_from(const std::string& name) {
    if (name == "gpipe") return PipelineSchedule::gpipe;
    if (name == "1f1b") return PipelineSchedule::one_forward_one_backward;
    if (name == "zb-h1") return PipelineSchedule::zero_bubble;
    throw UsageError("--pipeline-schedule " + name + " is unknown: choose gpipe, 1f1b or zb-h1");
}

/// Whether a stage of so many has weights passes. One alone waits for nobody and has none.
constexpr bool has_weights_passes(PipelineSchedule schedule, int stages) {
    return schedule == PipelineSchedule::zero_bubble && stages > 1;
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

/// ZB-H1 (Qi, Wan, Huang & Lin 2023, "Zero Bubble Pipeline Parallelism"): 1F1B whose gradients of the weights are left
/// for when the stage would wait. Every stage may have as many micro-batches in flight as the first has in 1F1B: while
/// micro-batches still go forward, stage s is s weights passes behind its backwards. After the last forward, one
/// follows each backward, and the rest come at the end. What stages wait for at the ends of a step is a third of 1F1B's
/// where the three passes take equally long.
inline std::vector<Action> zero_bubble(int stage, int stages, int micro_batches) {
    int forward = std::min(stages - stage - 1, micro_batches), weights_done = 0;
    std::vector<Action> actions;
    for (int m = 0; m < forward; ++m) actions.push_back({Pass::forward, m});
    for (int m = 0; m < micro_batches; ++m) {
        if (forward < micro_batches) {
            if (forward - weights_done == stages) actions.push_back({Pass::weights, weights_done++});
            actions.push_back({Pass::forward, forward++});
        }
        actions.push_back({Pass::backward, m});
        if (forward == micro_batches) actions.push_back({Pass::weights, weights_done++});
    }
    while (weights_done < micro_batches) actions.push_back({Pass::weights, weights_done++});
    return actions;
}

/// `at_most` is how many micro-batches GPipe may have in flight; the others have no more than there are stages.
inline std::vector<Action> training_actions(PipelineSchedule schedule, int stage, int stages, int micro_batches,
                                            int at_most) {
    if (schedule == PipelineSchedule::gpipe) return gpipe(micro_batches, at_most);
    return has_weights_passes(schedule, stages) ? zero_bubble(stage, stages, micro_batches)
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
    std::erase_if(actions, [](const Action& action) { return action.pass != Pass::forward; });
    return actions;
}

/// How many micro-batches are under way at most: forward done, the last of the other passes not. The slots a stage must
/// hold.
inline int most_in_flight(const std::vector<Action>& actions) {
    Pass last = Pass::forward;
    for (const Action& action : actions) last = std::max(last, action.pass);
    if (last == Pass::forward) return 1;
    int now = 0, most = 1;
    for (const Action& action : actions) {
        if (action.pass == Pass::forward) ++now;
        if (action.pass == last) --now;
        most = std::max(most, now);
    }
    return most;
}

}  // namespace ulmpi
