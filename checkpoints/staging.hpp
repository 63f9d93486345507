#pragma once
// The whole tensors that a rank writes, put together from the pieces that the ranks of its replica hold.

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "checkpoints/checkpoint.hpp"
#include "checkpoints/placement.hpp"
#include "model/arena.hpp"
#include "parallel/topology.hpp"

namespace ulmpi {

/// What tensors there are, who writes which, and which of these writings (`mine`: indices of `jobs`) are this rank's.
/// The same for every checkpoint of a model.
struct SavePlan {
    std::vector<TensorPlacement> tensors;
    std::vector<WriteJob> jobs;
    std::vector<std::size_t> mine;

    const TensorPlacement& tensor(std::size_t job) const { return tensors[jobs[job].tensor]; }
};
/// `averaged`: with an average of the weights; `states`: with what recurrent modules carry, or null. The stores need
/// not be allocated. Collective over one replica.
SavePlan plan_save(const ParameterStore& store, bool with_moments, const Topology& topology, bool averaged = false,
                   const ParameterStore* states = nullptr);

/// Room for tensors, in elements: `whole` of them, and one received piece that has to be taken apart.
struct StagingRoom {
    std::size_t whole = 0, piece = 0;
    std::size_t bytes() const { return (whole + piece) * sizeof(float); }
};
/// `copies`: every tensor that this rank writes is copied, so that the model may change while they are written. Else
/// those are given where they lie that lie whole on this rank, and the others one at a time. Pure.
StagingRoom room_for(const SavePlan& plan, bool copies);

class Staging {
public:
    /// Takes the room and touches all of it. Everything must outlive this. `threads` share the copying.
    Staging(const SavePlan& plan, bool copies, const ParameterStore& store, const Moments& moments,
            const Topology& topology, int threads);

    /// Sends what other ranks write; all of it is received after as many calls of gather() there as they write tensors.
    void send();
    /// With copies: all tensors of this rank, in the order of plan.mine; the model may change afterwards. Collective
    /// over one replica, send() included.
    void copy_all();
    /// The whole tensor number `i` of plan.mine. With copies: after copy_all(), from any thread. Else it communicates,
    /// is good until the next call, and must be called for every i in their order after send().
    std::span<const float> tensor(std::size_t i);
    /// Until everything sent has been received.
    void wait() { sends_.clear(); }

private:
    struct Copy {
        float* to;
        std::span<const float> from;
    };
    int me() const { return topology_.model.rank(); }
    std::span<const float> held(std::size_t job) const;
    void assemble(std::span<float> whole, std::size_t job);
    void make_copies();

    const SavePlan& plan_;
    bool copies_all_;
    const ParameterStore& store_;
    const ParameterStore* states_;
    std::array<std::span<const float>, 5> parts_;  // of this rank, by Part
    const Topology& topology_;
    int threads_;
    StagingRoom room_;
    ArenaMemory memory_;
    std::span<float> whole_, piece_;
    std::vector<std::size_t> places_;  // with copies: where in whole_ a tensor of plan.mine begins
    std::vector<Copy> copies_;         // still to be made
    std::vector<Request> sends_;
};

}  // namespace ulmpi
