// Runs on 1, 2 and 4 ranks; the arithmetic of larger grids needs none.

#include "parallel/topology.hpp"

#include <gtest/gtest.h>

#include <set>
#include <tuple>
#include <vector>

#include "base/error.hpp"

namespace ulmpi {
namespace {

TEST(TopologyTest, CoordinatesAndRanksAreInverse) {
    for (int data = 1; data <= 3; ++data)
        for (int pipeline = 1; pipeline <= 3; ++pipeline)
            for (int tensor = 1; tensor <= 3; ++tensor) {
                const Extents n{data, pipeline, tensor};
                std::set<std::tuple<int, int, int>> seen;
                for (int rank = 0; rank < data * pipeline * tensor; ++rank) {
                    const Coordinates at = coordinates_of(rank, n);
                    EXPECT_EQ(rank_of(at, n), rank);
                    EXPECT_TRUE(0 <= at.data && at.data < data);
                    EXPECT_TRUE(0 <= at.stage && at.stage < pipeline);
                    EXPECT_TRUE(0 <= at.slice && at.slice < tensor);
                    EXPECT_TRUE(seen.emplace(at.data, at.stage, at.slice).second);
                }
            }
}

TEST(TopologyTest, ExtentsFillTheRanksOrAreRefused) {
    for (int ranks = 1; ranks <= 12; ++ranks)
        for (int pipeline = -1; pipeline <= 5; ++pipeline)
            for (int tensor = -1; tensor <= 5; ++tensor) {
                const bool fits = pipeline > 0 && tensor > 0 && ranks % (pipeline * tensor) == 0;
                if (!fits) {
                    EXPECT_THROW(extents_for(ranks, pipeline, tensor), UsageError);
                    continue;
                }
                const Extents n = extents_for(ranks, pipeline, tensor);
                EXPECT_EQ(n.data * n.pipeline * n.tensor, ranks);
                EXPECT_EQ(n.pipeline, pipeline);
                EXPECT_EQ(n.tensor, tensor);
            }
    EXPECT_THROW(extents_for(4, 65536, 65536), UsageError) << "the product does not fit an int";
    EXPECT_EQ(to_string({2, 1, 4}), "dp2 x pp1 x tp4");
}

std::vector<int> members(const Communicator& comm, int rank) { return comm.all_gather(std::span<const int>(&rank, 1)); }

TEST(TopologyTest, CommunicatorsHoldTheRightRanks) {
    const Communicator world = Communicator::world();
    for (int pipeline = 1; pipeline <= world.size(); ++pipeline)
        for (int tensor = 1; tensor <= world.size(); ++tensor) {
            if (world.size() % (pipeline * tensor) != 0) continue;
            const Extents n = extents_for(world.size(), pipeline, tensor);
            SCOPED_TRACE(to_string(n));
            const Topology topology(world, n);
            const Coordinates at = topology.at;
            EXPECT_EQ(rank_of(at, n), world.rank());
            std::vector<int> data, stages, slices, model, ends;
            for (int d = 0; d < n.data; ++d) data.push_back(rank_of({d, at.stage, at.slice}, n));
            for (int s = 0; s < n.pipeline; ++s) stages.push_back(rank_of({at.data, s, at.slice}, n));
            for (int t = 0; t < n.tensor; ++t) slices.push_back(rank_of({at.data, at.stage, t}, n));
            for (int s = 0; s < n.pipeline; ++s)
                for (int t = 0; t < n.tensor; ++t) model.push_back(rank_of({at.data, s, t}, n));
            if (topology.first_stage() || topology.last_stage()) {
                ends = {stages.front()};
                if (n.pipeline > 1) ends.push_back(stages.back());
            } else {
                ends = {world.rank()};
            }
            EXPECT_EQ(members(topology.data, world.rank()), data);
            EXPECT_EQ(members(topology.pipeline, world.rank()), stages);
            EXPECT_EQ(members(topology.tensor, world.rank()), slices);
            EXPECT_EQ(members(topology.model, world.rank()), model);
            EXPECT_EQ(members(topology.ends, world.rank()), ends);
            EXPECT_EQ(topology.data.rank(), at.data);
            EXPECT_EQ(topology.pipeline.rank(), at.stage);
            EXPECT_EQ(topology.tensor.rank(), at.slice);
            EXPECT_EQ(topology.all.rank(), world.rank());
            EXPECT_EQ(topology.all.size(), world.size());
        }
}

TEST(TopologyTest, AGridThatDoesNotFillTheWorldIsRefused) {
    const Communicator world = Communicator::world();
    EXPECT_THROW(Topology(world, {world.size() + 1, 1, 1}), Error);
    EXPECT_THROW(Topology(world, {1, 1, world.size() + 1}), Error);
}

}  // namespace
}  // namespace ulmpi
