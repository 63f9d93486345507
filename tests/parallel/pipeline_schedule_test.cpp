#include "parallel/pipeline_schedule.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

namespace ulmpi {
namespace {

constexpr int most_stages = 6, most_micro_batches = 14;

constexpr PipelineSchedule schedules[]{PipelineSchedule::gpipe, PipelineSchedule::one_forward_one_backward,
                                       PipelineSchedule::zero_bubble};
constexpr const char* schedule_names[]{"gpipe", "1f1b", "zb-h1"};

/// Every schedule of a stage, for every size of pipeline.
template <typename F>
void for_each_schedule(F f) {
    for (PipelineSchedule schedule : schedules)
        for (int stages = 1; stages <= most_stages; ++stages)
            for (int micro_batches = 1; micro_batches <= most_micro_batches; ++micro_batches) {
                SCOPED_TRACE(testing::Message() << schedule_names[static_cast<int>(schedule)] << ", " << stages
                                                << " stages, " << micro_batches << " micro-batches");
                f(schedule, stages, micro_batches);
            }
}

TEST(PipelineScheduleTest, EveryMicroBatchGoesOnceEachWay) {
    for_each_schedule([](PipelineSchedule schedule, int stages, int micro_batches) {
        for (int stage = 0; stage < stages; ++stage) {
            std::set<int> forward, backward, weights;
            for (const Action& action : training_actions(schedule, stage, stages, micro_batches, micro_batches)) {
                if (action.pass == Pass::forward) {
                    EXPECT_TRUE(forward.insert(action.micro_batch).second);
                } else if (action.pass == Pass::backward) {
                    EXPECT_TRUE(forward.contains(action.micro_batch)) << "backward before forward";
                    EXPECT_TRUE(backward.insert(action.micro_batch).second);
                } else {
                    EXPECT_TRUE(backward.contains(action.micro_batch)) << "weights before backward";
                    EXPECT_TRUE(weights.insert(action.micro_batch).second);
                }
            }
            EXPECT_EQ(forward.size(), static_cast<std::size_t>(micro_batches));
            EXPECT_EQ(*forward.rbegin(), micro_batches - 1);
            EXPECT_EQ(backward, forward);
            EXPECT_EQ(weights, has_weights_passes(schedule, stages) ? forward : std::set<int>());
        }
    });
}

TEST(PipelineScheduleTest, InFlightAtMost) {
    for_each_schedule([](PipelineSchedule schedule, int stages, int micro_batches) {
        for (int stage = 0; stage < stages; ++stage) {
            const int most = most_in_flight(training_actions(schedule, stage, stages, micro_batches, micro_batches));
            const int room = has_weights_passes(schedule, stages) ? stages : stages - stage;
            EXPECT_EQ(most, schedule == PipelineSchedule::gpipe ? micro_batches : std::min(room, micro_batches));
        }
    });
}

TEST(PipelineScheduleTest, SlotsNeverCollide) {
    for_each_schedule([](PipelineSchedule schedule, int stages, int micro_batches) {
        for (int stage = 0; stage < stages; ++stage) {
            const std::vector<Action> actions = training_actions(schedule, stage, stages, micro_batches, micro_batches);
            const int slots = most_in_flight(actions);
            std::map<int, int> held;  // slot -> micro-batch
            for (const Action& action : actions) {
                const int slot = action.micro_batch % slots;
                const Pass last = has_weights_passes(schedule, stages) ? Pass::weights : Pass::backward;
                if (action.pass == Pass::forward)
                    EXPECT_TRUE(held.emplace(slot, action.micro_batch).second) << "slot " << slot << " is taken";
                else if (action.pass == last)
                    EXPECT_EQ(held.extract(slot).mapped(), action.micro_batch);
                else
                    EXPECT_EQ(held.at(slot), action.micro_batch);
            }
            EXPECT_TRUE(held.empty());
        }
    });
}

TEST(PipelineScheduleTest, GpipeGoesInRoundsWhereThereIsRoomForLess) {
    using enum Pass;
    EXPECT_EQ(gpipe(3, 2), (std::vector<Action>{
                               {forward, 0}, {forward, 1}, {backward, 0}, {backward, 1}, {forward, 2}, {backward, 2}}));
    for (int micro_batches = 1; micro_batches <= most_micro_batches; ++micro_batches)
        for (int at_most = 1; at_most <= micro_batches; ++at_most) {
            const std::vector<Action> actions = gpipe(micro_batches, at_most);
            EXPECT_EQ(most_in_flight(actions), at_most);
            std::vector<int> held(static_cast<std::size_t>(at_most), -1);
            for (const Action& action : actions) {
                int& slot = held[static_cast<std::size_t>(action.micro_batch % at_most)];
                EXPECT_EQ(slot, action.pass == forward ? -1 : action.micro_batch);
                slot = action.pass == forward ? action.micro_batch : -1;
            }
            EXPECT_EQ(actions.size(), 2 * static_cast<std::size_t>(micro_batches));
            EXPECT_EQ(forward_only(actions), forward_only(gpipe(micro_batches, micro_batches)));
        }
}

TEST(PipelineScheduleTest, ForwardOnlyKeepsTheOrder) {
    const std::vector<Action> actions = forward_only(one_forward_one_backward(1, 3, 5));
    ASSERT_EQ(actions.size(), 5u);
    for (int m = 0; m < 5; ++m) EXPECT_EQ(actions[static_cast<std::size_t>(m)], (Action{Pass::forward, m}));
    EXPECT_EQ(most_in_flight(actions), 1);
    EXPECT_EQ(most_in_flight({}), 1);
}

TEST(PipelineScheduleTest, NoMicroBatchesNoActions) {
    for (int stage = 0; stage < 3; ++stage)
        for (PipelineSchedule schedule : schedules) EXPECT_TRUE(training_actions(schedule, stage, 3, 0, 1).empty());
}

/// The player without MPI: sends never block, receives wait, a slot's next forward waits until what it sent has been
/// received (the worst that a send may do). Stages below `trained` play the forwards alone. True when all finish.
bool completes(PipelineSchedule schedule, int stages, int micro_batches, int trained) {
    struct Stage {
        std::vector<Action> actions;
        std::size_t next = 0;
        int slots = 1;
    };
    std::vector<Stage> stage(static_cast<std::size_t>(stages));
    for (int s = 0; s < stages; ++s) {
        std::vector<Action> actions = training_actions(schedule, s, stages, micro_batches, micro_batches);
        if (s < trained) actions = forward_only(actions);
        stage[static_cast<std::size_t>(s)] = {actions, 0, most_in_flight(actions)};
    }
    using Message = std::tuple<int, Pass, int>;  // from stage, what, micro-batch
    std::set<Message> sent, received;
    const auto all_received = [&](int from, int micro_batch) {
        for (Pass pass : {Pass::forward, Pass::backward})
            if (sent.contains({from, pass, micro_batch}) && !received.contains({from, pass, micro_batch})) return false;
        return true;
    };
    for (bool moved = true; moved;) {
        moved = false;
        for (int s = 0; s < stages; ++s) {
            Stage& here = stage[static_cast<std::size_t>(s)];
            if (here.next == here.actions.size()) continue;
            const auto [pass, m] = here.actions[here.next];
            if (pass == Pass::weights) {
                ++here.next;
                moved = true;
                continue;
            }
            const bool is_forward = pass == Pass::forward;
            if (is_forward && m >= here.slots && !all_received(s, m - here.slots)) continue;
            const int before = is_forward ? s - 1 : s + 1;
            if (before >= 0 && before < stages) {
                if (!sent.contains({before, pass, m})) continue;
                received.insert({before, pass, m});
            }
            const int after = is_forward ? s + 1 : s - 1;
            if (after >= (is_forward ? 0 : trained) && after < stages) sent.insert({s, pass, m});
            ++here.next;
            moved = true;
        }
    }
    for (const Stage& s : stage)
        if (s.next != s.actions.size()) return false;
    return sent == received;
}

TEST(PipelineScheduleTest, PlayedWithoutBlockingSendsItCompletes) {
    for_each_schedule([](PipelineSchedule schedule, int stages, int micro_batches) {
        for (int trained = 0; trained < stages; ++trained)
            EXPECT_TRUE(completes(schedule, stages, micro_batches, trained)) << trained << " stages frozen";
    });
}

/// When the last stage is done, if each pass takes 1 and messages nothing; backward takes 2 where it includes the
/// weights.
int time_of_a_step(PipelineSchedule schedule, int stages, int micro_batches) {
    std::map<std::tuple<int, Pass, int>, int> done;  // stage, pass, micro-batch
    std::vector<std::vector<Action>> actions;
    for (int s = 0; s < stages; ++s)
        actions.push_back(training_actions(schedule, s, stages, micro_batches, micro_batches));
    std::vector<std::size_t> next(static_cast<std::size_t>(stages));
    std::vector<int> clock(static_cast<std::size_t>(stages));
    for (bool moved = true; moved;) {
        moved = false;
        for (int s = 0; s < stages; ++s) {
            const auto here = static_cast<std::size_t>(s);
            if (next[here] == actions[here].size()) continue;
            const auto [pass, m] = actions[here][next[here]];
            const int from = pass == Pass::forward ? s - 1 : pass == Pass::backward ? s + 1 : -1;
            if (from >= 0 && from < stages) {
                const auto arrived = done.find({from, pass, m});
                if (arrived == done.end()) continue;
                clock[here] = std::max(clock[here], arrived->second);
            }
            clock[here] += pass == Pass::backward && !has_weights_passes(schedule, stages) ? 2 : 1;
            done[{s, pass, m}] = clock[here];
            ++next[here];
            moved = true;
        }
    }
    return *std::max_element(clock.begin(), clock.end());
}

// Qi et al., section 2: of p stages all wait (p - 1)(F + B + W) in 1F1B, (p - 1)(F + B - W) in ZB-H1.
TEST(PipelineScheduleTest, WaitsAsPublished) {
    for (int stages = 1; stages <= most_stages; ++stages)
        for (int micro_batches = 2 * stages; micro_batches <= most_micro_batches; ++micro_batches) {
            EXPECT_EQ(time_of_a_step(PipelineSchedule::one_forward_one_backward, stages, micro_batches),
                      3 * micro_batches + 3 * (stages - 1));
            EXPECT_EQ(time_of_a_step(PipelineSchedule::zero_bubble, stages, micro_batches),
                      3 * micro_batches + (stages - 1))
                << stages << " stages, " << micro_batches << " micro-batches";
        }
}

TEST(PipelineScheduleTest, Names) {
    EXPECT_EQ(pipeline_schedule_from("gpipe"), PipelineSchedule::gpipe);
    EXPECT_EQ(pipeline_schedule_from("1f1b"), PipelineSchedule::one_forward_one_backward);
    EXPECT_EQ(pipeline_schedule_from("zb-h1"), PipelineSchedule::zero_bubble);
    EXPECT_THROW(pipeline_schedule_from("1F1B"), UsageError);
}

}  // namespace
}  // namespace ulmpi
