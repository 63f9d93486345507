// Runs on 1, 2 and 4 ranks: a pipeline whose stages add to what passes, so that every value tells the way it came.

#include "parallel/pipeline_player.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <utility>

namespace ulmpi {
namespace {

constexpr std::size_t message_values = 50000;  // a message beyond what MPI buffers

/// Forward: y = x + 1, the first stage starting from 1000 m. Backward: dx = dy + 1, the last stage starting from
/// -1000 m. Each worker writes its share.
class CountingStage : public PipelineStage {
public:
    CountingStage(int stage, int stages, int slots) : stage_(stage), stages_(stages) {
        buffers_.resize(static_cast<std::size_t>(slots));
    }
    std::span<std::byte> begin(int slot, int micro_batch, const Team& team) override {
        team.single([&] {
            Buffers& b = at(slot);
            EXPECT_FALSE(b.busy) << "slot " << slot << " still holds micro-batch " << b.micro_batch;
            b = {.micro_batch = micro_batch, .busy = true};
            for (auto* buffer : {&b.input, &b.output, &b.gradient_in, &b.gradient_out})
                buffer->assign(message_values, -1);
        });
        return stage_ == 0 ? std::span<std::byte>{} : bytes(at(slot).input);
    }
    std::span<const std::byte> forward(int slot, int micro_batch, const Team& team) override {
        Buffers& b = at(slot);
        EXPECT_EQ(b.micro_batch, micro_batch);
        const Range mine = team.share(message_values);
        for (std::size_t i = mine.first; i < mine.last; ++i) {
            const double x = stage_ == 0 ? 1000.0 * micro_batch : b.input[i];
            if (x != 1000.0 * micro_batch + stage_) ADD_FAILURE() << "received " << x;
            b.output[i] = x + 1;
        }
        if (team.leader()) ++forwards;
        if (!trains) team.single([&] { b.busy = false; });
        return stage_ + 1 == stages_ ? std::span<const std::byte>{} : bytes(b.output);
    }
    std::span<std::byte> output_gradient(int slot, const Team&) override { return bytes(at(slot).gradient_in); }
    std::span<const std::byte> backward(int slot, int micro_batch, const Team& team) override {
        Buffers& b = at(slot);
        EXPECT_EQ(b.micro_batch, micro_batch);
        const Range mine = team.share(message_values);
        for (std::size_t i = mine.first; i < mine.last; ++i) {
            const double dy = stage_ + 1 == stages_ ? -1000.0 * micro_batch : b.gradient_in[i];
            if (dy != -1000.0 * micro_batch + (stages_ - 1 - stage_)) ADD_FAILURE() << "received gradient " << dy;
            b.gradient_out[i] = dy + 1;
        }
        team.single([&] {
            b.busy = owes_weights;
            ++backwards;
        });
        return stage_ == 0 ? std::span<const std::byte>{} : bytes(b.gradient_out);
    }
    void backward_weights(int slot, const Team& team) override {
        team.single([&] {
            EXPECT_TRUE(std::exchange(at(slot).busy, false)) << "slot " << slot << " owes nothing";
            ++weights;
        });
    }

    bool trains = true, owes_weights = false;
    int forwards = 0, backwards = 0, weights = 0;

private:
    struct Buffers {
        int micro_batch = -1;
        bool busy = false;
        std::vector<double> input = {}, output = {}, gradient_in = {}, gradient_out = {};
    };
    Buffers& at(int slot) { return buffers_.at(static_cast<std::size_t>(slot)); }
    static std::span<std::byte> bytes(std::vector<double>& v) { return std::as_writable_bytes(std::span(v)); }

    int stage_, stages_;
    std::vector<Buffers> buffers_;
};

void play(PipelineSchedule schedule, int micro_batches, int frozen, int threads) {
    const Communicator pipeline = Communicator::world();
    const int stage = pipeline.rank(), stages = pipeline.size();
    SCOPED_TRACE(testing::Message() << "schedule " << static_cast<int>(schedule) << ", " << micro_batches
                                    << " micro-batches, " << frozen << " frozen, " << threads << " threads");
    std::vector<Action> actions = training_actions(schedule, stage, stages, micro_batches, micro_batches);
    if (stage < frozen) actions = forward_only(actions);
    CountingStage fake(stage, stages, most_in_flight(actions));
    fake.trains = stage >= frozen;
    fake.owes_weights = has_weights_passes(schedule, stages);
    const GradientEdges edges{.to_stage_before = stage > frozen, .from_stage_after = stage >= frozen};
    run_team(threads, [&](const Team& team) { play_schedule(actions, fake, edges, pipeline, team); });
    EXPECT_EQ(fake.forwards, micro_batches);
    EXPECT_EQ(fake.backwards, stage < frozen ? 0 : micro_batches);
    EXPECT_EQ(fake.weights, fake.owes_weights ? fake.backwards : 0);
}

TEST(PipelinePlayerTest, ValuesArriveWhereTheyBelong) {
    for (PipelineSchedule schedule :
         {PipelineSchedule::gpipe, PipelineSchedule::one_forward_one_backward, PipelineSchedule::zero_bubble})
        for (int micro_batches : {0, 1, 2, 3, 4, 9})
            for (int threads : {1, 2}) play(schedule, micro_batches, 0, threads);
}

TEST(PipelinePlayerTest, FrozenStagesPlayForwardsAlone) {
    const int stages = Communicator::world().size();
    for (PipelineSchedule schedule :
         {PipelineSchedule::gpipe, PipelineSchedule::one_forward_one_backward, PipelineSchedule::zero_bubble})
        for (int micro_batches : {1, 5})
            for (int frozen = 1; frozen < stages; ++frozen) play(schedule, micro_batches, frozen, 1);
}

TEST(PipelinePlayerTest, EvaluationPlaysForwardsAlone) {
    const int stages = Communicator::world().size();
    play(PipelineSchedule::one_forward_one_backward, 7, stages, 1);
}

}  // namespace
}  // namespace ulmpi
