#include "tests/reference/training.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace ulmpi::reference {
namespace {

constexpr double tolerance = in_double ? 1e-11 : 2e-5;

/// On this rank alone.
struct Alone : Training {
    Alone(const ModelConfig& config, std::size_t micro_batch, int threads)
        : Training(config, {}, Communicator::world(), {.threads = threads}, micro_batch, 1) {}
    StepResult step(const std::vector<MicroBatch>& batches, std::uint64_t number, double clip = 0) {
        return Training::step(batches, targets(batches), number, clip);
    }
    static std::size_t targets(const std::vector<MicroBatch>& batches) {
        std::size_t count = 0;
        for (const MicroBatch& b : batches) count += b.rows();
        return count;
    }
};

ModelConfig config_with_dropout() {
    ModelConfig c = tiny_configs()[0].config;
    c.hidden = 24;
    c.embedding_dropout = c.attention_dropout = c.residual_dropout = 0.1;
    return c;
}

/// `sequences` of step `number`, at most `micro_batch` at a time.
std::vector<MicroBatch> batches(const ModelConfig& c, std::size_t sequences, std::size_t micro_batch,
                                std::uint64_t number) {
    std::vector<MicroBatch> result;
    for (std::size_t first = 0; first < sequences; first += micro_batch)
        result.push_back(random_batch(c, static_cast<std::uint32_t>(first), std::min(micro_batch, sequences - first),
                                      c.context, number));
    return result;
}

void expect_close(const StepResult& got, const StepResult& expected, const std::string& what) {
    EXPECT_NEAR(got.loss / expected.loss, 1, tolerance) << what;
    EXPECT_NEAR(got.gradient_norm / expected.gradient_norm, 1, tolerance) << what;
}

TEST(TrainStepTest, MicroBatchesAccumulate) {
    const ModelConfig c = config_with_dropout();
    Alone whole(c, 8, 1), by_twos(c, 2, 1), by_threes(c, 3, 1);
    for (std::uint64_t step = 1; step <= 10; ++step) {
        const StepResult expected = whole.step(batches(c, 8, 8, step), step, 1);
        expect_close(by_twos.step(batches(c, 8, 2, step), step, 1), expected, fmt::format("by 2, step {}", step));
        expect_close(by_threes.step(batches(c, 8, 3, step), step, 1), expected, fmt::format("by 3, step {}", step));
    }
}

TEST(TrainStepTest, AnyNumberOfThreads) {
    const ModelConfig c = config_with_dropout();
    Alone one(c, 4, 1), two(c, 4, 2), three(c, 4, 3);
    for (std::uint64_t step = 1; step <= 10; ++step) {
        const StepResult expected = one.step(batches(c, 7, 4, step), step, 1);
        expect_close(two.step(batches(c, 7, 4, step), step, 1), expected, fmt::format("2 threads, step {}", step));
        expect_close(three.step(batches(c, 7, 4, step), step, 1), expected, fmt::format("3 threads, step {}", step));
    }
}

TEST(TrainStepTest, TheSameRunGivesTheSameBits) {
    const ModelConfig c = config_with_dropout();
    for (int threads : {1, 2}) {
        Alone first(c, 4, threads), second(c, 4, threads);
        for (std::uint64_t step = 1; step <= 3; ++step) {
            const StepResult a = first.step(batches(c, 7, 4, step), step, 1);
            const StepResult b = second.step(batches(c, 7, 4, step), step, 1);
            EXPECT_EQ(a.loss, b.loss);
            EXPECT_EQ(a.gradient_norm, b.gradient_norm);
        }
        EXPECT_TRUE(
            std::equal(first.store.values().begin(), first.store.values().end(), second.store.values().begin()));
    }
}

// AdamW without moments behind it moves every weight by the rate whatever the gradient's length: what clipping does is
// seen in the first moments, (1 - beta1) × gradient.
TEST(TrainStepTest, ClipsToTheNormAndNoMore) {
    const ModelConfig c = config_with_dropout();
    const auto moments_norm = [&](double clip) {
        Alone t(c, 4, 1);
        const StepResult result = t.step(batches(c, 4, 4, 1), 1, clip);
        double squares = 0;
        for (Real m : t.optimizer.first_moments()) squares += std::pow(static_cast<double>(m) / 0.1, 2);
        return std::pair(result.gradient_norm, std::sqrt(squares));
    };
    const auto [norm, free] = moments_norm(0);
    EXPECT_NEAR(free / norm, 1, 1e-5) << "0: no clipping";
    EXPECT_NEAR(moments_norm(norm * 2).second / norm, 1, 1e-5) << "shorter gradients stay as they are";
    const auto [same_norm, clipped] = moments_norm(norm / 4);
    EXPECT_EQ(same_norm, norm) << "the norm reported is that before clipping";
    EXPECT_NEAR(clipped / (norm / 4), 1, 1e-4);
}

TEST(TrainStepTest, EvaluationLeavesNoTrace) {
    const ModelConfig c = config_with_dropout();
    Alone t(c, 4, 2);
    const std::vector<MicroBatch> data = batches(c, 7, 4, 1);
    PassOptions o = Alone::options(Alone::targets(data), 1);
    o.training = false;
    const std::vector<Real> before(t.store.values().begin(), t.store.values().end());
    const double loss = evaluate_pass(t.stage, t.topology, 2, data, o);
    EXPECT_NEAR(loss * o.loss_scale, std::log(static_cast<double>(c.vocabulary)), 0.1) << "untrained: uniform";
    o.random_key = 99;
    EXPECT_EQ(evaluate_pass(t.stage, t.topology, 2, data, o), loss) << "no dropout";
    EXPECT_TRUE(std::equal(before.begin(), before.end(), t.store.values().begin()));
    for (Real g : t.store.gradients()) ASSERT_EQ(g, 0);
    EXPECT_EQ(evaluate_pass(t.stage, t.topology, 2, {}, o), 0);
}

TEST(TrainStepTest, WhatIsNotFiniteStopsTheRunAndIsNamed) {
    const ModelConfig c = config_with_dropout();
    for (const char* name : {"block.1.ffn.up.weight", "token_embedding", "final_norm.bias"}) {
        Alone t(c, 4, 1);
        t.step(batches(c, 4, 4, 1), 1);
        for (const Parameter& p : t.store.parameters())
            if (p.name == name) t.store.value_of(p)[1] = std::numeric_limits<Real>::quiet_NaN();
        const std::vector<Real> before(t.store.values().begin(), t.store.values().end());
        try {
            t.step(batches(c, 4, 4, 2), 2);
            ADD_FAILURE() << "went on with a NaN in " << name;
        } catch (const Error& error) {
            const std::string message = error.what();
            EXPECT_NE(message.find("step 2"), std::string::npos) << message;
            EXPECT_NE(message.find("stage 0"), std::string::npos) << message;
            EXPECT_NE(message.find("loss is not finite"), std::string::npos) << message;
        }
        for (const Parameter& p : t.store.parameters())
            if (p.name != name) {
                EXPECT_EQ(t.store.value_of(p)[0], before[p.offset]) << "no update after a bad gradient";
            }
    }
}

TEST(TrainStepTest, AGradientWithoutEndIsNamedToo) {
    const ModelConfig c = config_with_dropout();
    Alone t(c, 4, 1);
    const std::vector<MicroBatch> data = batches(c, 4, 4, 1);
    PassOptions o = Alone::options(Alone::targets(data), 1);
    o.loss_scale = 1e300;
    try {
        train_step(t.trainee, data, o, t.rates(), 1, 3);
        ADD_FAILURE() << "went on with an infinite gradient";
    } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("step 3, stage 0: the gradient norm is not finite"), std::string::npos)
            << error.what();
    }
}

TEST(TrainStepTest, ATokenOutsideTheVocabularyIsRefused) {
    const ModelConfig c = config_with_dropout();
    for (Token bad : {-1, static_cast<Token>(c.vocabulary)}) {
        Alone t(c, 4, 1);
        std::vector<MicroBatch> data = batches(c, 4, 4, 1);
        data[0].inputs[5] = bad;
        EXPECT_THROW(t.step(data, 1), Error);
    }
    Alone t(c, 4, 1);
    EXPECT_THROW(t.step(batches(c, 5, 5, 1), 1), Error) << "a batch larger than planned";
}

}  // namespace
}  // namespace ulmpi::reference
