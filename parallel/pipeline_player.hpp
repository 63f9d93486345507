#pragma once
// Plays any schedule: receives what an action needs, lets the stage work, sends on what came out.

#include <cstddef>
#include <span>
#include <vector>

#include "parallel/communicator.hpp"
#include "parallel/pipeline_schedule.hpp"
#include "parallel/team.hpp"
#include "parallel/timeline.hpp"

namespace ulmpi {

/// What the player needs of a stage. A slot holds one micro-batch in flight; its buffers stay as they are until the
/// slot begins its next forward. Every worker of the rank calls every function.
class PipelineStage {
public:
    virtual ~PipelineStage() = default;
    /// Makes the slot ready for a micro-batch. Returns where the activations of the stage before are received.
    virtual std::span<std::byte> begin(int slot, int micro_batch, const Team& team) = 0;
    /// Returns the activations for the stage after; empty on the last stage.
    virtual std::span<const std::byte> forward(int slot, int micro_batch, const Team& team) = 0;
    /// Where the gradient of those activations is received.
    virtual std::span<std::byte> output_gradient(int slot, const Team& team) = 0;
    /// Returns the gradient of the activations received; empty on the first stage.
    virtual std::span<const std::byte> backward(int slot, int micro_batch, const Team& team) = 0;
    /// What backward has left for a pass of its own, if the schedule has one.
    virtual void backward_weights(int slot, const Team& team) = 0;
};

/// Which way gradients go over this stage's edges: a frozen stage below wants none.
struct GradientEdges {
    bool to_stage_before = true;
    bool from_stage_after = true;
};

/// Plays `actions` in order. Sends do not block: with blocking (rendezvous) sends 1F1B deadlocks as soon as two
/// neighbours send to each other. A slot is reused only when what it sent has left. The timeline, if there is one, is
/// that of worker 0.
inline void play_schedule(const std::vector<Action>& actions, PipelineStage& stage, GradientEdges edges,
                          const Communicator& pipeline, const Team& team, Timeline* timeline = nullptr) {
    if (!team.leader()) timeline = nullptr;
    const int here = pipeline.rank(), stages = pipeline.size(), slots = most_in_flight(actions);
    struct Sends {
        Request activations, gradient;
    };
    std::vector<Sends> sends(static_cast<std::size_t>(slots));
    const auto tag = [](const Action& action) {
        return 2 * action.micro_batch + (action.pass == Pass::forward ? 0 : 1);
    };
    for (const Action& action : actions) {
        const int slot = action.micro_batch % slots;
        Sends& under_way = sends[static_cast<std::size_t>(slot)];
        if (action.pass == Pass::forward) {
            if (team.leader() && stages > 1) {
                const During phase(timeline, Phase::send);
                under_way = {};
            }
            team.barrier();
            const std::span<std::byte> input = stage.begin(slot, action.micro_batch, team);
            if (here > 0) team.single([&] { pipeline.receive(input, here - 1, tag(action)); });
            const std::span<const std::byte> output = [&] {
                const During phase(timeline, Phase::forward);
                return stage.forward(slot, action.micro_batch, team);
            }();
            if (here + 1 < stages)
                team.single([&] { under_way.activations = pipeline.send(output, here + 1, tag(action)); });
        } else if (action.pass == Pass::weights) {
            const During phase(timeline, Phase::backward);
            stage.backward_weights(slot, team);
        } else {
            const std::span<std::byte> gradient = stage.output_gradient(slot, team);
            if (here + 1 < stages && edges.from_stage_after)
                team.single([&] { pipeline.receive(gradient, here + 1, tag(action)); });
            const std::span<const std::byte> output = [&] {
                const During phase(timeline, Phase::backward);
                return stage.backward(slot, action.micro_batch, team);
            }();
            if (here > 0 && edges.to_stage_before)
                team.single([&] { under_way.gradient = pipeline.send(output, here - 1, tag(action)); });
        }
    }
    team.barrier();
}

}  // namespace ulmpi
