// Runs on 1, 2 and 4 ranks.

#include "parallel/timeline.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "parallel/topology.hpp"

namespace ulmpi {
namespace {

double seconds_in(const Timeline& timeline, Phase phase) {
    return timeline.totals()[static_cast<std::size_t>(phase)].seconds;
}

void sleep_milliseconds(int n) { std::this_thread::sleep_for(std::chrono::milliseconds(n)); }

TEST(TimelineTest, TimeCountsForTheInnermostPhase) {
    Timeline timeline;
    {
        const During forward(&timeline, Phase::forward);
        sleep_milliseconds(2);
        const During inner(&timeline, Phase::all_reduce, 100);
        sleep_milliseconds(4);
    }
    const auto begin = Timeline::Clock::now();
    const Timeline::Totals totals = timeline.totals();
    double sum = 0;
    for (const Timeline::Total& total : totals) sum += total.seconds;
    EXPECT_GE(seconds_in(timeline, Phase::forward), 2e-3);
    EXPECT_GE(seconds_in(timeline, Phase::all_reduce), 4e-3);
    // Everything is counted once: what the phases sum to is the time since the start.
    EXPECT_LE(sum, timeline.seconds());
    EXPECT_GE(sum, std::chrono::duration<double>(begin - timeline.start()).count());
    EXPECT_EQ(totals[static_cast<std::size_t>(Phase::all_reduce)].bytes, 100u);
    EXPECT_EQ(totals[static_cast<std::size_t>(Phase::forward)].entered, 1u);
    EXPECT_TRUE(timeline.entries().empty()) << "kept without being asked for";
    EXPECT_FALSE(timeline.cut());
}

TEST(TimelineTest, AnEvaluationIsCountedWhole) {
    Timeline timeline;
    {
        const During evaluate(&timeline, Phase::evaluate);
        const During forward(&timeline, Phase::forward);
        const During reduce(&timeline, Phase::all_reduce, 100);
        sleep_milliseconds(3);
    }
    EXPECT_GE(seconds_in(timeline, Phase::evaluate), 3e-3);
    EXPECT_EQ(seconds_in(timeline, Phase::forward), 0);
    EXPECT_EQ(seconds_in(timeline, Phase::all_reduce), 0);
    EXPECT_EQ(timeline.totals()[static_cast<std::size_t>(Phase::evaluate)].bytes, 100u);
    EXPECT_EQ(timeline.totals()[static_cast<std::size_t>(Phase::forward)].entered, 1u);
}

TEST(TimelineTest, KeepsEntriesOfATraceUpToALimit) {
    Timeline timeline;
    timeline.trace(3);
    for (int i = 0; i < 5; ++i) const During phase(&timeline, Phase::backward, 7);
    ASSERT_EQ(timeline.entries().size(), 3u);
    EXPECT_TRUE(timeline.cut());
    for (const Timeline::Entry& entry : timeline.entries()) EXPECT_LE(entry.begin, entry.end);
    timeline.restart();
    EXPECT_TRUE(timeline.entries().empty());
    EXPECT_FALSE(timeline.cut());
    EXPECT_EQ(timeline.totals()[static_cast<std::size_t>(Phase::backward)].entered, 0u);
}

TEST(TimelineTest, NothingHappensWithoutOne) { const During phase(nullptr, Phase::forward); }

TEST(TimelineTest, RecordsWhatTheRanksSend) {
    const Communicator world = Communicator::world();
    Timeline timeline;
    const Topology topology(world, {world.size(), 1, 1}, &timeline);
    timeline.trace(100);
    std::vector<float> values(1000, 1);
    topology.data.all_reduce_sum(std::span<float>(values));
    const Timeline::Total reduced = timeline.totals()[static_cast<std::size_t>(Phase::all_reduce)];
    EXPECT_EQ(reduced.entered, world.size() > 1 ? 1u : 0u) << "a rank alone sends nothing";
    EXPECT_EQ(reduced.bytes, world.size() > 1 ? 4000u : 0u);

    double share = 0;
    for (const PhaseSummary& phase : summarize(timeline, world)) {
        share += phase.mean_share;
        EXPECT_LE(phase.least_share, phase.mean_share + 1e-12);
        EXPECT_GE(phase.most_share, phase.mean_share - 1e-12);
        if (phase.name == "all-reduce") {
            EXPECT_EQ(phase.bytes, 4000u * static_cast<std::size_t>(world.size()));
        }
    }
    EXPECT_NEAR(share, 1, 1e-9);
    EXPECT_NE(phase_table(summarize(timeline, world)).find("other"), std::string::npos);

    const std::string trace = chrome_trace(timeline, world);
    if (world.rank() != 0) {
        EXPECT_TRUE(trace.empty());
        return;
    }
    const auto json = nlohmann::json::parse(trace);
    int names = 0, spans = 0;
    for (const auto& event : json.at("traceEvents")) {
        names += event.at("ph") == "M";
        if (event.at("ph") != "X") continue;
        ++spans;
        EXPECT_EQ(event.at("name"), "all-reduce");
        EXPECT_GE(event.at("ts").get<double>(), 0);
        EXPECT_GE(event.at("dur").get<double>(), 0);
        EXPECT_EQ(event.at("args").at("bytes"), 4000);
    }
    EXPECT_EQ(names, world.size());
    EXPECT_EQ(spans, world.size() > 1 ? world.size() : 0);
}

}  // namespace
}  // namespace ulmpi
