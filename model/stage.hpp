#pragma once
// The part of the model that this rank computes: the modules of one pipeline stage, one slice of each, with a head
// behind on the last.

#include <memory>
#include <optional>
#include <vector>

#include "model/batch_plan.hpp"
#include "model/config.hpp"
#include "model/families/family.hpp"
#include "parallel/pipeline_player.hpp"

namespace ulmpi {

/// Is told, by the leader of a rank's team, as the gradients of a pass become whole; not where weights come later
/// (BatchPlan::weights_later), which are whole at the end alone.
class GradientWatch {
public:
    virtual ~GradientWatch() = default;
    /// Those of the groups from `group` on, of this rank. Called again with the same group it lets what was begun go
    /// on.
    virtual void whole_from(int group) = 0;
};

/// Declares its parameters when built; the store is allocated afterwards. Activations are allocated by prepare().
class Stage : public PipelineStage {
public:
    Stage(const ModelConfig& config, const HeadConfig& head, ParameterStore& store, const StagePlace& place,
          const Communicator& tensor);

    /// The room that passes of such micro-batches take, to the byte; nothing is allocated.
    ActivationBytes activation_bytes(const BatchPlan& plan) const;
    /// Makes that room.
    void prepare(const BatchPlan& plan);
    /// The micro-batches of the coming pass, what holds for all of them, and who watches its gradients, if anybody. All
    /// must outlive it.
    void start(const std::vector<MicroBatch>& batches, const PassOptions& options, GradientWatch* watch = nullptr);
    /// Which gradients go over this stage's edges, and whether it computes any, with the groups below `first` frozen.
    GradientEdges gradient_edges(int first_trained_group) const;
    bool trains_modules(int first_trained_group) const;
    /// Of the pass's micro-batches, in order: those whose documents have chunks in several of them, or the others.
    std::vector<int> micro_batches(bool partial) const;
    /// Once the partial ones have gone forward, all workers: the last stage's head judges their documents. From then on
    /// forward of a partial micro-batch, in training, ends in the gradient that its documents have left for it.
    void judge_documents(const Team& team);
    /// Micro-batches that there is room for at a time.
    int slots() const { return plan_.slots; }

    std::span<std::byte> begin(int slot, int micro_batch, const Team& team) override;
    std::span<const std::byte> forward(int slot, int micro_batch, const Team& team) override;
    std::span<std::byte> output_gradient(int slot, const Team& team) override;
    std::span<const std::byte> backward(int slot, int micro_batch, const Team& team) override;
    void backward_weights(int slot, const Team& team) override;

    /// Sum of the losses of the pass so far; 0 but on the last stage.
    double loss() const;
    /// What the head predicted for every document of the pass, or every sequence of a language model, in order,
    /// (documents, head outputs); empty but on the last stage.
    const std::vector<Real>& scores() const { return scores_; }
    const ModelConfig& config() const { return config_; }
    /// What its modules carry along streams (PassOptions::states).
    const std::vector<StateShape>& states() const { return made_.states; }
    const StagePlace& place() const { return place_; }
    std::optional<ParameterId> shared_embedding() const { return made_.shared_embedding; }
    /// Most bytes that each kind of arena has held, for the test of the plan.
    ActivationBytes most_used() const;

private:
    /// Room for what goes in; in training, for the gradient of what comes out; and, where several lanes go out, for all
    /// of them in a row.
    struct Ends {
        Flow gradient, input, packed;
    };
    /// One worker's view of the micro-batch in a slot.
    struct Passage {
        std::optional<Context> context;
        Flow flow;      ///< what came in; after forward what goes out
        Flow gradient;  ///< of that
        Ends ends;
        std::vector<Context::WeightProduct> later;  ///< BatchPlan::weights_later
    };
    struct Slot {
        ArenaMemory kept;
        std::vector<Passage> workers;
    };
    /// Documents of the pass that have chunks in several micro-batches.
    struct LongDocuments {
        Documents documents;
        std::vector<std::size_t> score_rows;
        ArenaMemory memory;
        DocumentPools pools;
        bool judged = false;
    };
    Ends ends(Rooms& rooms, bool training) const;
    /// What goes over an edge: the one lane there is, where it lies, or all of them, packed into `room`.
    std::span<std::byte> over_edge(const Flow& flow, const Flow& room, const FlowShape& shape,
                                   const Context& context) const;
    Passage& passage(int slot, const Team& team) {
        return slots_[static_cast<std::size_t>(slot)].workers[static_cast<std::size_t>(team.rank())];
    }
    void list_documents();
    void head_forward(int micro_batch, Passage& mine, const Team& team);
    DocumentPools pools_of(const MicroBatch& batch) const {
        return long_.pools.rows({batch.first_document, batch.first_document + batch.documents()});
    }
    ModelConfig config_;
    StagePlace place_;
    const Communicator& tensor_;
    HeadConfig head_config_;
    StageModules made_;

    BatchPlan plan_;
    std::vector<Slot> slots_;
    ArenaMemory shared_;
    std::vector<ArenaMemory> own_;
    const std::vector<MicroBatch>* batches_ = nullptr;
    const PassOptions* options_ = nullptr;
    GradientWatch* watch_ = nullptr;
    std::size_t gone_back_ = 0;  ///< micro-batches of the pass; the leader counts
    /// Of each micro-batch: which keys rows see, where it is not all before them.
    struct Sees {
        std::vector<KeyRange> keys, source_keys, memory_keys;
    };
    std::vector<Sees> sees_;
    LongDocuments long_;
    std::vector<double> worker_loss_;
    std::vector<std::size_t> score_rows_;  ///< of each micro-batch, the row of its first document
    std::vector<Real> scores_;
    ActivationBytes most_used_;
};

}  // namespace ulmpi
