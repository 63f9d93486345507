#include "checkpoints/placement.hpp"

#include <gtest/gtest.h>

#include <map>
#include <numeric>

namespace ulmpi {
namespace {

// Oracle: the whole tensor element by element.
TEST(InsertSlice, PutsEveryElementInItsPlace) {
    const Shape shape{6, 8};
    std::vector<float> whole(48);
    std::iota(whole.begin(), whole.end(), 1.0F);
    for (const Slicing& slicing : {Slicing{}, Slicing{0, {{1, 3}}}, Slicing{0, {{0, 1}, {4, 6}}}, Slicing{1, {{2, 5}}},
                                   Slicing{1, {{0, 2}, {3, 4}, {7, 8}}}}) {
        std::vector<float> piece, expected(48, 0.0F), out(48, 0.0F);
        for (std::size_t i = 0; i < 48; ++i) {
            const std::size_t along = slicing.axis == 0 ? i / 8 : i % 8;
            bool mine = slicing.whole();
            for (Range range : slicing.ranges) mine = mine || range.contains(along);
            if (!mine) continue;
            piece.push_back(whole[i]);
            expected[i] = whole[i];
        }
        insert_slice(out, shape, slicing, piece);
        EXPECT_EQ(out, expected);
        std::size_t first = 0;
        if (is_consecutive(shape, slicing, first)) {
            EXPECT_EQ(out[first], piece.front());
            EXPECT_EQ(out[first + piece.size() - 1], piece.back());
        }
    }
}

TEST(DealJobs, EvenlyAndOnlyToHolders) {
    std::vector<TensorPlacement> tensors{
        {"embedding", {1000, 64}, {{0, {0, {{0, 500}}}, 32000}, {1, {0, {{500, 1000}}}, 32000}}}};
    for (int block = 0; block < 12; ++block) {
        tensors.push_back(
            {"matrix" + std::to_string(block), {256, 64}, {{0, {0, {{0, 128}}}, 8192}, {1, {0, {{128, 256}}}, 8192}}});
        tensors.push_back({"norm" + std::to_string(block), {64}, {{0, {}, 64}}});
    }
    for (int replicas : {1, 2, 3}) {
        const std::vector<WriteJob> jobs = deal_jobs(tensors, true, replicas);
        ASSERT_EQ(jobs.size(), tensors.size() * 3);
        std::map<std::pair<int, int>, std::size_t> load;
        for (std::size_t j = 0; j < jobs.size(); ++j) {
            const TensorPlacement& tensor = tensors[jobs[j].tensor];
            EXPECT_EQ(jobs[j].tensor, j % tensors.size());
            EXPECT_EQ(static_cast<std::size_t>(jobs[j].part), j / tensors.size());
            EXPECT_TRUE(jobs[j].replica >= 0 && jobs[j].replica < replicas);
            bool holds = false;
            for (const Piece& piece : tensor.pieces) holds = holds || piece.rank == jobs[j].writer;
            EXPECT_TRUE(holds);
            load[{jobs[j].replica, jobs[j].writer}] += tensor.shape.size();
        }
        EXPECT_EQ(load.size(), static_cast<std::size_t>(replicas) * 2);
        std::size_t least = SIZE_MAX, most = 0;
        for (const auto& [rank, elements] : load) {
            least = std::min(least, elements);
            most = std::max(most, elements);
        }
        EXPECT_LE(most - least, std::size_t{64000});  // the largest tensor
    }
    EXPECT_EQ(deal_jobs(tensors, false, 1).size(), tensors.size());
    EXPECT_EQ(deal_jobs(tensors, true, 2, true).size(), tensors.size() * 4);
}

}  // namespace
}  // namespace ulmpi
