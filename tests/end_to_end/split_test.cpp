// Split, not copied: what a rank holds of a model whose blocks dominate, and how often ranks talk. Runs on 2 ranks.

#include <gtest/gtest.h>
#include <mpi.h>

#include "tests/reference/training.hpp"

namespace {

// Sums and maxima of Real in this process; those of losses, norms and tests are of other types in the float build.
int all_reduces = 0;
long long elements_all_reduced = 0;

}  // namespace

// MPI's profiling interface: the program calls this one.
extern "C" int MPI_Allreduce(const void* from, void* to, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm) {
    if (type == ulmpi::mpi_type<ulmpi::Real>()) {
        ++all_reduces;
        elements_all_reduced += count;
    }
    return PMPI_Allreduce(from, to, count, type, op, comm);
}
extern "C" int MPI_Iallreduce(const void* from, void* to, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm,
                              MPI_Request* request) {
    if (type == ulmpi::mpi_type<ulmpi::Real>()) {
        ++all_reduces;
        elements_all_reduced += count;
    }
    return PMPI_Iallreduce(from, to, count, type, op, comm, request);
}

namespace ulmpi::reference {
namespace {

ModelConfig model(std::size_t layers) {
    ModelConfig c;
    c.layers = layers;
    c.hidden = 64;
    c.heads = 4;
    c.context = 32;
    c.vocabulary = 120;
    c.attention_dropout = c.residual_dropout = 0.1;
    return c;
}

struct Counts {
    int training, forward;
    long long elements;
};

/// All-reduces of one step and of one evaluation, over one micro-batch.
Counts count(const ModelConfig& config, const Layout& layout, std::size_t bucket_bytes = no_overlap) {
    Training t(config, {}, Communicator::world(), layout, 2, 1);
    t.trainee.bucket_bytes = bucket_bytes;
    const std::vector<MicroBatch> batches{random_batch(config, 0, 2, config.context, 1)};
    Counts counts{};
    all_reduces = 0;
    elements_all_reduced = 0;
    t.step(batches, 64, 1);
    counts.training = all_reduces;
    counts.elements = elements_all_reduced;
    all_reduces = 0;
    PassOptions o = Training::options(64, 1);
    o.training = false;
    evaluate_pass(t.stage, t.topology, 1, batches, o);
    counts.forward = all_reduces;
    return counts;
}

// Megatron-LM (Shoeybi et al. 2019): two all-reduces forward and two backward for each layer.
TEST(SplitTest, TensorParallelLayersTalkFourTimes) {
    const Counts three = count(model(3), {1, 2}), four = count(model(4), {1, 2});
    EXPECT_EQ(four.forward - three.forward, 2);
    EXPECT_EQ(four.training - three.training, 4);
    const long long rows = 2 * 32;
    EXPECT_EQ(four.elements - three.elements, 4 * rows * 64) << "each of them one activation";
    // embedding; maximum and sums of the softmax; gradient of the head's input
    EXPECT_EQ(three.forward, 2 * 3 + 3);
    EXPECT_EQ(three.training, 4 * 3 + 4);
}

TEST(SplitTest, ReplicasTalkOnceAStep) {
    const Counts counts = count(model(3), {1, 1});
    EXPECT_EQ(counts.training, 1) << "the sum of the gradients, in one piece";
    EXPECT_EQ(counts.forward, 0);
    // Where a group is long enough, its sum begins when its gradients are whole: blocks, and at the end the embeddings.
    const Counts by_group = count(model(3), {1, 1}, 1);
    EXPECT_EQ(by_group.training, 3 + 1);
    EXPECT_EQ(by_group.elements, counts.elements);
    const std::size_t block = 12 * 64 * 64 * sizeof(Real);
    EXPECT_EQ(count(model(3), {1, 1}, 3 * block / 2).training, 1 + 1) << "two blocks, then a block and the embeddings";
}

// With gradual unfreezing the first epochs train the head alone.
TEST(SplitTest, FrozenMeansSilent) {
    const ModelConfig config = model(3);
    Training t(config, ClassifierConfig{.classes = 3, .hidden = 10}, Communicator::world(), {1, 1}, 2, 1);
    const std::vector<MicroBatch> batches{random_labelled_batch(config, 0, 2, config.context, 3, 1)};
    for (int first = 0; first <= 4; ++first) {
        std::size_t trained = 0;
        for (const Parameter& p : t.store.parameters())
            if (p.group >= first) trained += p.size();
        all_reduces = 0;
        elements_all_reduced = 0;
        t.step(batches, 4, 1 + static_cast<std::uint64_t>(first), 0, first);
        EXPECT_EQ(all_reduces, 1 + (4 - first)) << first;
        EXPECT_GE(elements_all_reduced, static_cast<long long>(trained)) << first;
        EXPECT_LE(elements_all_reduced, static_cast<long long>(trained + 16 * t.store.parameters().size())) << first;
    }
}

TEST(SplitTest, StagesOfATiedModelTalkOnceAStep) {
    const Counts tied = count(model(4), {2, 1});
    EXPECT_EQ(tied.training, 1) << "the gradients of the two uses of the embedding";
    EXPECT_EQ(tied.elements, 120 * 64);
    ModelConfig untied = model(4);
    untied.tied = false;
    EXPECT_EQ(count(untied, {2, 1}).training, 0);
}

/// What one rank needs.
struct Held {
    double parameters;  ///< elements
    double activations, kept_a_slot, everything;
};

Held held(const Communicator& world, const Layout& layout) {
    const ModelConfig config = model(8);
    Training t(config, {}, world, layout, 2, 4);
    const std::vector<MicroBatch> batches(4, random_batch(config, 0, 2, config.context, 1));
    t.step(batches, 256, 1);
    const ActivationBytes planned = t.stage.activation_bytes(t.plan), used = t.stage.most_used();
    EXPECT_EQ(used.kept, planned.kept);
    EXPECT_EQ(used.shared, planned.shared);
    EXPECT_EQ(used.own, planned.own);
    const auto parameters = static_cast<double>(t.store.size());
    const auto activations = static_cast<double>(planned.total(t.plan));
    // weights, gradients and two moments
    return {parameters, activations, static_cast<double>(planned.kept), 4 * sizeof(Real) * parameters + activations};
}

TEST(SplitTest, ARankHoldsHalf) {
    const Communicator world = Communicator::world();
    const Held whole = held(world.split(world.rank(), 0), {});
    const Held sliced = held(world, {1, 2});
    EXPECT_LE(sliced.parameters, 0.55 * whole.parameters);
    // Inputs of the sublayers are whole on every slice: 2 of the 10 widths that a block keeps.
    EXPECT_LE(sliced.activations, 0.65 * whole.activations);
    EXPECT_LE(sliced.everything, 0.6 * whole.everything);
    for (PipelineSchedule schedule :
         {PipelineSchedule::one_forward_one_backward, PipelineSchedule::gpipe, PipelineSchedule::zero_bubble}) {
        const Held staged = held(world, {2, 1, schedule});
        EXPECT_LE(staged.parameters, 0.55 * whole.parameters);
        // Factors of the weights' products stay besides, 15 widths of a block that keeps 10 (10 of them in the MLP).
        const double later = schedule == PipelineSchedule::zero_bubble ? 2.5 : 1;
        EXPECT_LE(staged.kept_a_slot, 0.55 * later * whole.kept_a_slot);
        // The first of two stages has two micro-batches in flight (1F1B): half the blocks twice.
        if (schedule == PipelineSchedule::one_forward_one_backward) {
            EXPECT_LE(staged.activations, 1.05 * whole.activations);
            EXPECT_LE(staged.everything, 0.65 * whole.everything);
        }
    }
}

}  // namespace
}  // namespace ulmpi::reference
