// Oracles: the tokens themselves, read in one piece; every token scored once; the same global batch however it is
// dealt.

#include "data/lm_batches.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "data/shard_writer.hpp"
#include "tests/base/temporary_folder.hpp"
#include "tests/data/test_tokenizer.hpp"

namespace ulmpi {
namespace {

class LmBatchesTest : public testing::Test {
protected:
    LmBatchesTest() {
        const std::filesystem::path text = folder_ / "text.txt";
        std::ofstream out(text, std::ios::binary);
        for (int line = 0; line < 120; ++line)
            out << "line " << line << " of a corpus, " << line * line << " and some\n";
        out.close();
        TextReader reader({text}, {});
        write_shards(test_tokenizer(), reader, folder_ / "shards", {.shard_tokens = 700, .threads = 1});
        dataset_.emplace(folder_ / "shards");
        all_.resize(dataset_->token_count());
        dataset_->read(0, all_);
    }
    TemporaryFolder folder_;
    std::optional<TokenDataset> dataset_;
    std::vector<Token> all_;
};

TEST_F(LmBatchesTest, EveryTokenIsScoredOnceFromThoseBeforeIt) {
    for (std::size_t length :
         {std::size_t{1}, std::size_t{7}, std::size_t{32}, all_.size() - 1, all_.size(), all_.size() + 5})
        for (std::size_t stride : {std::size_t{1}, length / 3 + 1, length}) {
            if (stride > length || (stride == 1 && length > 32)) continue;
            SCOPED_TRACE(testing::Message() << "length " << length << ", stride " << stride);
            const ScoringWindows windows(*dataset_, length, stride);
            std::vector<int> scored(all_.size(), 0);
            for (std::uint64_t w = 0; w < windows.count(); ++w) {
                const MicroBatch batch = windows.batch(w, w + 1);
                for (std::size_t t = 0; t < length; ++t) {
                    if (batch.targets[t] < 0) continue;
                    const std::size_t at = w * stride + t;
                    ASSERT_LT(at, all_.size());
                    ++scored[at];
                    EXPECT_EQ(batch.targets[t], all_[at]);
                    for (std::size_t back = 0; back <= t; ++back)
                        EXPECT_EQ(batch.inputs[t - back], at > back ? all_[at - back - 1] : dataset_->end_of_text());
                    EXPECT_TRUE(w == 0 || t >= length - stride);
                }
            }
            EXPECT_EQ(scored, std::vector<int>(all_.size(), 1));
        }
}

TEST_F(LmBatchesTest, WindowsTogetherAreWindowsAlone) {
    const ScoringWindows windows(*dataset_, 16, 10);
    const MicroBatch together = windows.batch(2, 5);
    for (std::size_t s = 0; s < 3; ++s) {
        const MicroBatch alone = windows.batch(2 + s, 3 + s);
        EXPECT_TRUE(std::equal(alone.inputs.begin(), alone.inputs.end(),
                               together.inputs.begin() + static_cast<std::ptrdiff_t>(s * 16)));
        EXPECT_TRUE(std::equal(alone.targets.begin(), alone.targets.end(),
                               together.targets.begin() + static_cast<std::ptrdiff_t>(s * 16)));
    }
}

// Row r of every step goes on where it ended in the step before, under any layout.
TEST_F(LmBatchesTest, StreamsReadOn) {
    constexpr std::size_t length = 12, global = 5;
    for (int replicas : {1, 2, 5}) {
        const LmBatches batches(*dataset_, 3, length, global, 2, ReadingOrder::streams);
        std::vector<Token> next(global, -1);
        for (std::uint64_t step = 0; step < 2 * batches.windows(); ++step)
            for (int replica = 0; replica < replicas; ++replica)
                for (const MicroBatch& batch : batches.of_step(step, replica, replicas))
                    for (std::size_t s = 0; s < batch.sequences; ++s) {
                        Token& expected = next[batch.first_sequence + s];
                        if (expected >= 0 && batch.samples[s] != 0) {
                            EXPECT_EQ(batch.inputs[s * length], expected);
                        }
                        expected = batch.targets[(s + 1) * length - 1];
                    }
    }
}

TEST_F(LmBatchesTest, TheGlobalBatchIsTheSameHoweverItIsDealt) {
    constexpr std::size_t length = 12, global = 7;
    const auto rows_of = [&](std::uint64_t step, int replicas, std::size_t micro_batch) {
        const LmBatches batches(*dataset_, 3, length, global, micro_batch);
        std::vector<Token> rows;
        std::uint32_t next = 0;
        for (int replica = 0; replica < replicas; ++replica)
            for (const MicroBatch& batch : batches.of_step(step, replica, replicas)) {
                EXPECT_EQ(batch.first_sequence, next);
                EXPECT_LE(batch.sequences, micro_batch);
                next += static_cast<std::uint32_t>(batch.sequences);
                for (std::size_t i = 0; i < batch.rows(); ++i) {
                    EXPECT_TRUE((i + 1) % length == 0 || batch.targets[i] == batch.inputs[i + 1]);
                    rows.push_back(batch.inputs[i]);
                }
            }
        EXPECT_EQ(next, global);
        return rows;
    };
    for (std::uint64_t step : {0u, 1u, 50u})
        for (int replicas : {1, 2, 3, 7})
            for (std::size_t micro_batch : {std::size_t{1}, std::size_t{2}, std::size_t{7}})
                EXPECT_EQ(rows_of(step, replicas, micro_batch), rows_of(step, 1, global));
}

}  // namespace
}  // namespace ulmpi
