// Runs on 1, 2 and 4 ranks.

#include "parallel/communicator.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "base/error.hpp"
#include "parallel/running_sums.hpp"

namespace ulmpi {
namespace {

template <typename T>
class CommunicatorTest : public testing::Test {
protected:
    const Communicator world = Communicator::world();
};
using Numbers = testing::Types<float, double, std::int32_t, std::uint32_t, std::int64_t, std::uint64_t>;
TYPED_TEST_SUITE(CommunicatorTest, Numbers);

TYPED_TEST(CommunicatorTest, Reductions) {
    const int ranks = this->world.size(), rank = this->world.rank();
    for (std::size_t n : {0UL, 1UL, 5UL, 10000UL, 2200003UL}) {  // the last in several pieces
        std::vector<TypeParam> sum(n), most(n), least(n);
        for (std::size_t i = 0; i < n; ++i) {
            sum[i] = static_cast<TypeParam>(static_cast<int>(i) + rank);
            most[i] = least[i] = static_cast<TypeParam>((static_cast<int>(i) + rank) % ranks + 1);
        }
        this->world.all_reduce_sum(std::span(sum));
        this->world.all_reduce_max(std::span(most));
        this->world.all_reduce_min(std::span(least));
        for (std::size_t i = 0; i < n; ++i) {
            ASSERT_EQ(sum[i], static_cast<TypeParam>(ranks * static_cast<int>(i) + ranks * (ranks - 1) / 2));
            ASSERT_EQ(most[i], static_cast<TypeParam>(ranks));
            ASSERT_EQ(least[i], static_cast<TypeParam>(1));
        }
    }
}

// Whether anybody lets them go on meanwhile or not, whatever is added when; the last are several pieces each.
TYPED_TEST(CommunicatorTest, RunningSums) {
    const int ranks = this->world.size(), rank = this->world.rank();
    for (const int calls : {0, 1, 1000}) {
        RunningSums<TypeParam> sums(this->world);
        std::vector<std::vector<TypeParam>> spans;
        std::uint64_t bytes = 0;
        std::size_t wrong = 0;
        for (const std::size_t n : {0UL, 1UL, 5UL, 10000UL, 2200003UL, 7UL, 1500000UL}) {
            std::vector<TypeParam>& span = spans.emplace_back(n);
            for (std::size_t i = 0; i < n; ++i) span[i] = static_cast<TypeParam>(static_cast<int>(i) + rank);
            sums.add(std::span(span));
            bytes += n * sizeof(TypeParam);
            for (int call = 0; call < calls * (1 + rank); ++call) sums.progress();
        }
        sums.finish();
        for (const std::vector<TypeParam>& span : spans)
            for (std::size_t i = 0; i < span.size(); ++i)
                wrong += span[i] != static_cast<TypeParam>(ranks * static_cast<int>(i) + ranks * (ranks - 1) / 2);
        EXPECT_EQ(wrong, 0u);
        EXPECT_EQ(sums.bytes(), ranks > 1 ? bytes : 0);
        EXPECT_LE(sums.early_bytes(), sums.bytes());
        if (calls == 0) {
            EXPECT_EQ(sums.early_bytes(), 0u);
        }
    }
}

TYPED_TEST(CommunicatorTest, Broadcast) {
    for (int root = 0; root < this->world.size(); ++root) {
        std::vector<TypeParam> values(1001, static_cast<TypeParam>(this->world.rank()));
        this->world.broadcast(std::span(values), root);
        EXPECT_EQ(values, std::vector<TypeParam>(1001, static_cast<TypeParam>(root)));
    }
}

TYPED_TEST(CommunicatorTest, GathersPartsOfAnyLength) {
    const auto part = [](int rank) {  // rank 0 has none
        return std::vector<TypeParam>(static_cast<std::size_t>(3 * rank), static_cast<TypeParam>(rank + 7));
    };
    std::vector<TypeParam> expected;
    for (int rank = 0; rank < this->world.size(); ++rank) {
        const std::vector<TypeParam> theirs = part(rank);
        expected.insert(expected.end(), theirs.begin(), theirs.end());
    }
    const std::vector<TypeParam> mine = part(this->world.rank());
    EXPECT_EQ(this->world.all_gather(std::span<const TypeParam>(mine)), expected);
}

TYPED_TEST(CommunicatorTest, ARingOfMessages) {
    const int ranks = this->world.size(), rank = this->world.rank();
    for (std::size_t n : {0UL, 1UL, 100000UL}) {  // the last beyond what MPI buffers
        std::vector<TypeParam> out(n, static_cast<TypeParam>(rank)), in(n), in2(n);
        {
            const std::vector<TypeParam> out2(n, static_cast<TypeParam>(rank + 100));
            const Request first = this->world.send(std::span<const TypeParam>(out), (rank + 1) % ranks, 5);
            const Request second = this->world.send(std::span<const TypeParam>(out2), (rank + 1) % ranks, 6);
            const int from = (rank + ranks - 1) % ranks;
            this->world.receive(std::span(in2), from, 6);  // by tag, not by order
            this->world.receive(std::span(in), from, 5);
            EXPECT_EQ(in, std::vector<TypeParam>(n, static_cast<TypeParam>(from)));
            EXPECT_EQ(in2, std::vector<TypeParam>(n, static_cast<TypeParam>(from + 100)));
        }
    }
}

TEST(CommunicatorTest, Split) {
    const Communicator world = Communicator::world();
    const Communicator parity = world.split(world.rank() % 2, -world.rank());  // the highest first
    EXPECT_EQ(parity.size(), (world.size() + 1 - world.rank() % 2) / 2);
    const std::vector<int> mine{world.rank()}, members = parity.all_gather(std::span<const int>(mine));
    for (std::size_t i = 0; i + 1 < members.size(); ++i) EXPECT_EQ(members[i], members[i + 1] + 2);
    EXPECT_EQ(members[static_cast<std::size_t>(parity.rank())], world.rank());

    const Communicator alone = world.split(world.rank(), 0);
    EXPECT_EQ(alone.size(), 1);
    double value = world.rank();
    alone.all_reduce_sum(std::span(&value, 1));
    EXPECT_EQ(value, world.rank());
    EXPECT_EQ(world.split_by_node().size(), world.size()) << "the tests run on one machine";
}

TEST(CommunicatorTest, BroadcastOfAStruct) {
    struct Progress {
        std::uint64_t step;
        double loss;
    };
    const Communicator world = Communicator::world();
    const Progress at = broadcast_value(Progress{static_cast<std::uint64_t>(world.rank()) + 3, 0.5}, world, 0);
    EXPECT_EQ(at.step, 3u);
    EXPECT_EQ(at.loss, 0.5);
}

TEST(CommunicatorTest, LongSpansGoInPieces) {
    const Communicator world = Communicator::world();
    if (world.size() != 2) GTEST_SKIP() << "on 2 ranks alone: half a gigabyte is enough";
    const std::size_t n = (std::size_t{1} << 28) + 5;
    std::vector<std::byte> bytes(n, std::byte{0});
    if (world.rank() == 0) bytes.front() = bytes[n - 6] = bytes[n - 5] = bytes.back() = std::byte{7};
    world.broadcast(std::span(bytes), 0);
    for (std::size_t at : {std::size_t{0}, n - 6, n - 5, n - 1}) EXPECT_EQ(bytes[at], std::byte{7});
    EXPECT_EQ(bytes[n - 3], std::byte{0});
    if (world.rank() == 1) {
        bytes[n - 2] = std::byte{9};
        const Request request = world.send(std::span<const std::byte>(bytes), 0, 1);
    } else {
        world.receive(std::span(bytes), 1, 1);
        EXPECT_EQ(bytes[n - 2], std::byte{9});
        EXPECT_EQ(bytes[n - 5], std::byte{7});
    }
}

TEST(CommunicatorTest, AFailedCallIsAnError) {
    const Communicator world = Communicator::world();
    float value = 0;
    EXPECT_THROW(world.receive(std::span(&value, 1), world.size() + 5, 0), Error) << "no such rank";
}

}  // namespace
}  // namespace ulmpi
