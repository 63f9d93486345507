// The whole stage against the plain loops of tests/reference/transformer.hpp.

#include <gtest/gtest.h>

#include "tests/reference/tiny_model.hpp"
#include "tests/reference/transformer.hpp"

namespace ulmpi::reference {
namespace {

constexpr double tolerance_of_loss = in_double ? 1e-12 : 1e-5;

PassOptions options(bool training) {
    PassOptions o;
    o.training = training;
    o.random_key = random_key(7, 3);
    return o;
}

TEST(StageReferenceTest, LanguageModels) {
    for (const auto& [name, config] : tiny_configs()) {
        TinyModel model(config);
        const Transformer reference(config, model.store);
        std::vector<MicroBatch> batches{random_batch(config, 4, 3, 9, 1), random_batch(config, 7, 2, 6, 2)};
        batches[0].targets[3] = batches[0].targets[20] = batches[1].targets[11] = -1;
        for (bool training : {false, true})
            for (int threads : {1, 2, 3}) {
                const double expected =
                    reference.loss(batches[0], options(training)) + reference.loss(batches[1], options(training));
                EXPECT_NEAR(model.pass(batches, options(training), threads) / expected, 1, tolerance_of_loss)
                    << name << (training ? ", training, " : ", evaluating, ") << threads << " threads";
            }
    }
}

// Longer than a block of queries and a chunk of logits.
TEST(StageReferenceTest, LongSequences) {
    ModelConfig config = tiny_configs()[0].config;
    config.context = 200;
    config.layers = 1;
    config.mask_documents = true;
    config.end_of_text = 5;
    config.attention_dropout = 0.1;
    TinyModel model(config);
    const std::vector<MicroBatch> batches{random_batch(config, 0, 6, 200, 3)};
    const double expected = Transformer(config, model.store).loss(batches[0], options(true));
    for (int threads : {1, 2, 4})
        EXPECT_NEAR(model.pass(batches, options(true), threads) / expected, 1, tolerance_of_loss) << threads;
}

TEST(StageReferenceTest, NextToken) {
    for (const auto& [name, config] : tiny_configs()) {
        TinyModel model(config);
        std::vector<MicroBatch> batches{random_batch(config, 0, 3, 8, 5), random_batch(config, 3, 2, 5, 6)};
        batches[0].lengths = {8, 1, 4};
        batches[1].lengths = {5, 2};
        PassOptions o = options(false);
        o.predict = true;
        for (int threads : {1, 2}) {
            model.pass(batches, o, threads);
            const std::vector<Real>& scores = model.stage.scores();
            ASSERT_EQ(scores.size(), 5 * config.vocabulary);
            std::size_t next = 0;
            for (const MicroBatch& b : batches)
                for (std::size_t s = 0; s < b.sequences; ++s) {
                    const Row expected = Transformer(config, model.store)
                                             .next_token(b, s, static_cast<std::size_t>(b.lengths[s]) - 1, o);
                    for (double logit : expected)
                        ASSERT_NEAR(static_cast<double>(scores[next++]), logit, in_double ? 1e-11 : 1e-4) << name;
                }
        }
    }
}

TEST(StageReferenceTest, Classifiers) {
    for (Pooling pooling : {Pooling::concat, Pooling::last, Pooling::max, Pooling::mean, Pooling::first})
        for (std::size_t which : {0u, 1u, 3u}) {
            ModelConfig config = tiny_configs()[which].config;
            config.attention_dropout = 0.1;
            const ClassifierConfig head{
                .classes = 4, .hidden = 10, .pooling = pooling, .dropout1 = 0.3, .wide = which == 1};
            TinyModel model(config, head);
            const Transformer reference(config, model.store);
            const std::vector<MicroBatch> batches{random_labelled_batch(config, 2, 5, 9, 4, 1, head.wide),
                                                  random_labelled_batch(config, 7, 3, 4, 4, 2, head.wide)};
            for (bool training : {false, true})
                for (int threads : {1, 2, 3}) {
                    PassOptions o = options(training);
                    o.class_weights = {1, 0.5F, 2, 3};
                    o.label_smoothing = which == 3 ? 0 : 0.1 * threads;
                    const double expected = reference.loss(batches[0], o, head) + reference.loss(batches[1], o, head);
                    EXPECT_NEAR(model.pass(batches, o, threads) / expected, 1, tolerance_of_loss) << to_string(pooling);
                }
            PassOptions o = options(false);
            o.predict = true;
            model.pass(batches, o, 2);
            for (std::size_t s = 0; s < 8; ++s) {
                const Row p =
                    s < 5 ? reference.predict(batches[0], s, o, head) : reference.predict(batches[1], s - 5, o, head);
                for (std::size_t k = 0; k < 4; ++k)
                    EXPECT_NEAR(static_cast<double>(model.stage.scores()[4 * s + k]), p[k], in_double ? 1e-12 : 1e-5);
            }
        }
}

}  // namespace
}  // namespace ulmpi::reference
