// Documents longer than the context: against one long pass over the whole document, against the plain loops of
// tests/reference/transformer.hpp, and in memory that does not grow with them.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/reference/documents.hpp"
#include "tests/reference/tiny_model.hpp"
#include "tests/reference/transformer.hpp"

namespace ulmpi::reference {
namespace {

constexpr double tolerance = in_double ? 1e-11 : 1e-5;
constexpr std::size_t context = 8, classes = 3;

PassOptions document_options(bool training, bool predict = false) {
    PassOptions o;
    o.training = training;
    o.predict = predict;
    o.random_key = random_key(7, 3);
    o.class_weights = {1, 0.5F, 2};
    return o;
}

ModelConfig small_model() {
    ModelConfig config = tiny_configs()[0].config;
    config.context = context;
    return config;
}

const std::vector<std::size_t> mixed_lengths{3, 8, 9, 1, 30, 12, 41, 8, 16, 5};

struct Outcome {
    double loss = 0;
    std::vector<Real> gradients, probabilities;
};

Outcome outcome(TinyModel& model, const std::vector<MicroBatch>& batches, int threads, bool training = true) {
    Outcome result;
    std::fill(model.store.gradients().begin(), model.store.gradients().end(), Real(0));
    result.loss = model.pass(batches, document_options(training), threads);
    result.gradients.assign(model.store.gradients().begin(), model.store.gradients().end());
    model.pass(batches, document_options(false, true), threads);
    result.probabilities = model.stage.scores();
    return result;
}

void expect_close(const ParameterStore& store, const Outcome& got, const Outcome& expected, const std::string& what) {
    EXPECT_NEAR(got.loss / expected.loss, 1, tolerance) << what;
    ASSERT_EQ(got.probabilities.size(), expected.probabilities.size()) << what;
    for (std::size_t i = 0; i < got.probabilities.size(); ++i)
        EXPECT_NEAR(got.probabilities[i], expected.probabilities[i], tolerance) << what << ", " << i;
    double whole = 0;
    for (Real g : expected.gradients) whole += static_cast<double>(g) * static_cast<double>(g);
    for (const Parameter& p : store.parameters()) {
        double error = 0;
        for (std::size_t i = p.offset; i < p.offset + p.size(); ++i)
            error += std::pow(static_cast<double>(got.gradients[i]) - static_cast<double>(expected.gradients[i]), 2);
        EXPECT_LE(std::sqrt(error), tolerance * std::sqrt(whole)) << what << ", " << p.name;
    }
}

// Where attention stops at the end-of-text tokens that stand at most half a context apart and positions count from one
// another, a token's state does not depend on what came before: one pass over a whole document, in a context that holds
// it, gives the same states as chunks.
TEST(StageDocumentsTest, ChunksGiveWhatOneLongPassGives) {
    for (PositionEmbedding position : {PositionEmbedding::none, PositionEmbedding::rotary}) {
        ModelConfig config = small_model();
        config.position = position;
        config.mask_documents = true;
        config.end_of_text = 5;
        LabelledSet set = random_documents(mixed_lengths, config.vocabulary, classes, 4);
        for (std::size_t i = 0; i < set.size(); ++i)
            for (std::size_t t = 3; t < set.tokens_of(i).size(); t += 4) set.tokens[set.starts[i] + t] = 5;
        for (Pooling pooling : {Pooling::concat, Pooling::last, Pooling::max, Pooling::mean, Pooling::first}) {
            const ClassifierConfig head{
                .classes = classes, .hidden = 10, .pooling = pooling, .dropout1 = 0, .dropout2 = 0};
            TinyModel in_chunks(config, head);
            ModelConfig whole = config;
            whole.context = 64;
            TinyModel at_once(whole, head);
            const Outcome expected = outcome(at_once, batches_of(set, 64, set.size()), 1);
            for (std::size_t micro_batch : {1u, 3u, 4u, 40u})
                for (int threads : {1, 3})
                    expect_close(in_chunks.store, outcome(in_chunks, batches_of(set, context, micro_batch), threads),
                                 expected,
                                 fmt::format("{}, {} sequences at a time, {} threads", to_string(pooling), micro_batch,
                                             threads));
        }
    }
}

TEST(StageDocumentsTest, LossAndPredictionsOfThePlainLoops) {
    for (std::size_t which : {0u, 1u, 3u, 6u})
        for (Pooling pooling : {Pooling::concat, Pooling::last, Pooling::max, Pooling::mean, Pooling::first}) {
            ModelConfig config = tiny_configs()[which].config;
            config.context = context;
            const ClassifierConfig head{
                .classes = classes, .hidden = 10, .pooling = pooling, .dropout1 = 0.3, .wide = which == 3};
            TinyModel model(config, head);
            const Transformer reference(config, model.store);
            const LabelledSet set = random_documents(mixed_lengths, config.vocabulary, classes, 6);
            const std::vector<float> offsets = random_offsets(head.wide ? set.size() : 0, classes, 6);
            const std::vector<float> targets = random_soft_labels(which % 2 == 0 ? set.size() : 0, classes, 8);
            constexpr std::size_t before = 11;  // chunks of the global batch
            double losses[2] = {0, 0};
            std::vector<double> probabilities;
            for (bool training : {false, true}) {
                std::uint32_t place = before;
                for (std::size_t i = 0; i < set.size(); ++i) {
                    const std::vector<Token> document(set.tokens_of(i).begin(), set.tokens_of(i).end());
                    const Row log_p = Transformer::log_softmax(reference.with_offsets(
                        reference.classes(document, place, document_options(training), head), offsets, i));
                    const auto label = static_cast<std::size_t>(set.labels[i]);
                    double loss = -log_p[label];
                    if (!targets.empty()) loss = 0;
                    for (std::size_t c = 0; c < targets.size() / set.size(); ++c)
                        loss -= static_cast<double>(targets[i * classes + c]) * log_p[c];
                    losses[training] += static_cast<double>(document_options(training).class_weights[label]) * loss;
                    place += static_cast<std::uint32_t>(chunk_count(document.size(), context));
                    if (training) continue;
                    for (double x : log_p) probabilities.push_back(std::exp(x));
                }
            }
            for (std::size_t micro_batch : {1u, 3u, 8u})
                for (int threads : {1, 2}) {
                    const auto batches = batches_of(set, context, micro_batch, before, offsets, targets);
                    for (bool training : {false, true})
                        EXPECT_NEAR(model.pass(batches, document_options(training), threads) / losses[training], 1,
                                    tolerance)
                            << tiny_configs()[which].name << ", " << to_string(pooling) << ", " << micro_batch;
                    model.pass(batches, document_options(false, true), threads);
                    ASSERT_EQ(model.stage.scores().size(), probabilities.size());
                    for (std::size_t i = 0; i < probabilities.size(); ++i)
                        EXPECT_NEAR(model.stage.scores()[i], probabilities[i], tolerance);
                }
        }
}

// That a document is the only chunk of itself may be said or left out.
TEST(StageDocumentsTest, ADocumentInOneChunkGivesTheBitsOfASequence) {
    ModelConfig config = small_model();
    config.embedding_dropout = config.attention_dropout = config.residual_dropout = 0.2;
    TinyModel model(config, ClassifierConfig{.classes = classes, .hidden = 10});
    std::vector<MicroBatch> batches = batches_of(random_documents({3, 8, 1, 8, 5}, 23, classes, 4), context, 3);
    ASSERT_EQ(batches.size(), 2u);
    ASSERT_TRUE(batches[0].chunks.empty() && batches[1].chunks.empty());
    for (int threads : {1, 2}) {
        const Outcome left_out = outcome(model, batches, threads);
        std::vector<MicroBatch> saying = batches;
        for (std::size_t b = 0; b < saying.size(); ++b)
            for (std::size_t s = 0; s < saying[b].sequences; ++s) saying[b].chunks.push_back(batches[b].chunk(s));
        const Outcome said = outcome(model, saying, threads);
        EXPECT_EQ(said.loss, left_out.loss);
        EXPECT_EQ(said.gradients, left_out.gradients);
        EXPECT_EQ(said.probabilities, left_out.probabilities);
    }
}

// A document of 100,000 tokens takes no more than four contexts of another, its own tokens and those of its chunks
// included: its micro-batches are as small as that however large the others are.
TEST(StageDocumentsTest, MemoryDoesNotGrowWithTheDocument) {
    constexpr std::size_t length = 100'000;
    const LabelledSet set = random_documents({length}, 1000, classes, 4);
    for (const auto& [hidden, long_context] : {std::pair{64, 128}, {256, 256}, {512, 512}})
        for (bool training : {false, true}) {
            ModelConfig config;
            config.hidden = static_cast<std::size_t>(hidden);
            config.context = static_cast<std::size_t>(long_context);
            config.vocabulary = 1000;
            std::size_t sequences = 0, bytes = set.tokens.size() * sizeof(Token);
            for (const MicroBatch& b : batches_of(set, config.context, 32)) {
                sequences = std::max(sequences, b.sequences);
                bytes += sizeof b + b.inputs.size() * sizeof(Token) + b.chunks.size() * sizeof(Chunk) +
                         (b.lengths.size() + b.labels.size()) * sizeof(std::int32_t);
            }
            const auto total = [&](std::size_t most, std::size_t documents) {
                const BatchPlan plan{most, config.context, 1, 2, training, Precision::fp32, documents};
                return planned_bytes(config, ClassifierConfig{.classes = 10}, plan).total(plan);
            };
            EXPECT_LE(total(sequences, 1) + bytes, total(4, 0)) << hidden << (training ? ", training" : ", predicting");
        }
}

// An arena that is too small for what is asked of it throws.
TEST(StageDocumentsTest, MemoryIsWhatWasPlanned) {
    const ModelConfig config = small_model();
    const LabelledSet set = random_documents({2000, 5, 3000}, config.vocabulary, classes, 4);
    for (std::size_t micro_batch : {1u, 3u}) {
        TinyModel model(config, ClassifierConfig{.classes = classes, .hidden = 10});
        model.pass(batches_of(set, context, micro_batch), document_options(true));
        const ActivationBytes used = model.stage.most_used(),
                              planned =
                                  model.stage.activation_bytes({micro_batch, context, 1, 1, true, Precision::fp32, 2});
        // Two chunks of a long document are a micro-batch.
        EXPECT_LE(used.kept, planned.kept);
        EXPECT_LE(used.shared, planned.shared);
        EXPECT_LE(used.own, planned.own);
        EXPECT_LE(2 * (3 * sizeof(Real) + sizeof(std::int32_t)) * config.hidden, planned.pools);
        EXPECT_LT(planned.pools, planned.kept);
    }
}

TEST(StageDocumentsTest, MoreLongDocumentsThanPlannedAreRefused) {
    const ModelConfig config = small_model();
    TinyModel model(config, ClassifierConfig{.classes = classes, .hidden = 10});
    model.stage.prepare({1, context, 1, 1, true, Precision::fp32, 1});
    const PassOptions o = document_options(true);
    const auto two = batches_of(random_documents({20, 20}, config.vocabulary, classes, 4), context, 1);
    EXPECT_THROW(model.stage.start(two, o), Error);
}

}  // namespace
}  // namespace ulmpi::reference
