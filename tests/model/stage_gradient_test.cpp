// The gradient of the whole stage's loss by every parameter tensor against central differences, in double.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tests/reference/documents.hpp"
#include "tests/reference/tiny_model.hpp"

namespace ulmpi::reference {
namespace {

/// d pass / d weight. Three widths are tried: near a kink (of ReLU, of the maximum over positions) a wide one goes
/// wrong, where the loss is large a narrow one loses digits; the truth is where they come closest to `expected`.
double central_difference(Real& weight, double expected, const std::function<double()>& pass) {
    double best = 0, least = std::numeric_limits<double>::infinity();
    const Real before = weight;
    for (double h : {3e-4, 3e-5, 3e-6}) {
        const auto at = [&](double steps) {
            weight = before + static_cast<Real>(steps * h);
            return pass();
        };
        const double slope = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h);
        weight = before;
        if (std::abs(slope - expected) < least) {
            least = std::abs(slope - expected);
            best = slope;
        }
        if (least <= 1e-9 * std::abs(expected)) break;
    }
    return best;
}

/// Of each tensor the element with the largest gradient and some random ones.
void check_gradients(TinyModel& model, const std::vector<MicroBatch>& batches, PassOptions options, int threads,
                     int random_elements) {
    constexpr double scale = 0.25;
    options.loss_scale = scale;
    const auto pass = [&] { return model.pass(batches, options, threads); };
    std::fill(model.store.gradients().begin(), model.store.gradients().end(), Real(0));
    pass();
    const std::vector<Real> gradients(model.store.gradients().begin(), model.store.gradients().end());
    std::mt19937 generator(5);
    for (const Parameter& p : model.store.parameters()) {
        if (p.statistic) continue;
        const std::span<const Real> gradient = std::span(gradients).subspan(p.offset, p.size());
        std::vector<std::size_t> elements;
        const auto larger = [](Real a, Real b) { return std::abs(a) < std::abs(b); };
        elements.push_back(
            static_cast<std::size_t>(std::max_element(gradient.begin(), gradient.end(), larger) - gradient.begin()));
        for (int i = 0; i < random_elements; ++i) elements.push_back(generator() % p.size());
        double error = 0, norm = 0;
        for (std::size_t i : elements) {
            const auto got = static_cast<double>(gradient[i]) / scale;
            const double numeric = central_difference(model.store.value_of(p)[i], got, pass);
            error += (got - numeric) * (got - numeric);
            norm += numeric * numeric;
        }
        EXPECT_GT(norm, 0) << p.name;
        EXPECT_LE(std::sqrt(error), 1e-7 * std::sqrt(norm)) << p.name;
    }
}

PassOptions training() {
    PassOptions o;
    o.random_key = random_key(7, 3);
    return o;
}

class StageGradientTest : public testing::TestWithParam<NamedConfig> {};
INSTANTIATE_TEST_SUITE_P(Models, StageGradientTest, testing::ValuesIn(all_configs()));

TEST_P(StageGradientTest, MatchesCentralDifferences) {
    const auto& [name, config] = GetParam();
    SCOPED_TRACE(name);
    TinyModel model(config);
    std::vector<MicroBatch> batches{random_batch(config, 4, 4, 7, 1)};
    batches[0].targets[3] = batches[0].targets[20] = -1;
    check_gradients(model, batches, training(), 1, 3);
}

// 4 sequences on 3 workers: rows of a sequence on different workers.
TEST_P(StageGradientTest, AnyNumberOfThreadsGivesTheSame) {
    const auto& [name, config] = GetParam();
    SCOPED_TRACE(name);
    TinyModel model(config);
    const std::vector<MicroBatch> batches{random_batch(config, 4, 4, 7, 1), random_batch(config, 8, 1, 9, 1),
                                          random_batch(config, 9, 2, 1, 1)};
    std::vector<Real> alone;
    for (int threads : {1, 2, 3, 4}) {
        std::fill(model.store.gradients().begin(), model.store.gradients().end(), Real(0));
        model.pass(batches, training(), threads);
        const auto gradients = model.store.gradients();
        if (threads == 1) alone.assign(gradients.begin(), gradients.end());
        for (const Parameter& p : model.store.parameters()) {
            double error = 0, norm = 0;
            for (std::size_t i = p.offset; i < p.offset + p.size(); ++i) {
                error += std::pow(static_cast<double>(gradients[i] - alone[i]), 2);
                norm += std::pow(static_cast<double>(alone[i]), 2);
            }
            EXPECT_LE(std::sqrt(error), 1e-12 * std::sqrt(norm)) << p.name << ", " << threads << " threads";
        }
    }
}

TEST(ClassifierGradientTest, MatchesCentralDifferences) {
    for (Pooling pooling : {Pooling::concat, Pooling::last, Pooling::max, Pooling::mean, Pooling::first})
        for (int threads : {1, 2, 3}) {
            SCOPED_TRACE(fmt::format("{}, {} threads", to_string(pooling), threads));
            ModelConfig config = tiny_configs()[threads == 3 ? 1 : 0].config;  // pre-LN, once post-LN
            config.layers = 1;
            config.residual_dropout = 0.1;
            const ClassifierConfig head{
                .classes = 3, .hidden = 10, .pooling = pooling, .dropout1 = 0.3, .dropout2 = 0.1, .wide = threads == 2};
            TinyModel model(config, head);
            PassOptions o = training();
            o.class_weights = {1, 0.5F, 3};
            o.label_smoothing = threads == 1 ? 0 : 0.1 * threads;
            check_gradients(model, {random_labelled_batch(config, 2, 5, 8, 3, 1, head.wide)}, o, threads, 1);
        }
}

// Of up to 5 chunks: in one micro-batch, in several, and among short ones; weights are the same in every chunk.
TEST(ClassifierGradientTest, OfDocumentsInChunks) {
    for (Pooling pooling : {Pooling::concat, Pooling::last, Pooling::max, Pooling::mean, Pooling::first})
        for (std::size_t micro_batch : {1u, 3u, 9u}) {
            SCOPED_TRACE(fmt::format("{}, {} sequences at a time", to_string(pooling), micro_batch));
            ModelConfig config = tiny_configs()[micro_batch == 3 ? 1 : 0].config;  // pre-LN, once post-LN
            config.layers = 1;
            config.context = 4;
            config.residual_dropout = config.attention_dropout = 0.1;
            const ClassifierConfig head{.classes = 3,
                                        .hidden = 10,
                                        .pooling = pooling,
                                        .dropout1 = 0.3,
                                        .dropout2 = 0.1,
                                        .wide = pooling == Pooling::concat};
            TinyModel model(config, head);
            PassOptions o = training();
            o.class_weights = {1, 0.5F, 3};
            const bool soft = pooling == Pooling::concat || pooling == Pooling::max;
            o.label_smoothing = soft || micro_batch == 9 ? 0 : 0.2;
            const LabelledSet set = random_documents({3, 11, 4, 7, 1, 9}, config.vocabulary, 3, 1);
            const std::vector<float> offsets = random_offsets(head.wide ? set.size() : 0, 3, 1);
            const std::vector<float> targets = random_soft_labels(soft ? set.size() : 0, 3, 2);
            check_gradients(model, batches_of(set, config.context, micro_batch, 5, offsets, targets), o,
                            micro_batch == 9 ? 2 : 1, 1);
        }
}

// The rows of a micro-batch share their statistics.
TEST(ClassifierGradientTest, BatchNorm) {
    for (int threads : {1, 2}) {
        ModelConfig config = tiny_configs()[3].config;  // without biases: BatchNorm takes them out again
        config.layers = 1;
        ClassifierConfig head{.classes = 3, .hidden = 10};
        head.dropout1 = 0.3;
        head.norm = HeadNormKind::batchnorm;
        TinyModel model(config, head);
        const std::vector<MicroBatch> batches{random_labelled_batch(config, 2, 5, 8, 3, 1),
                                              random_labelled_batch(config, 7, 7, 6, 3, 1)};
        check_gradients(model, batches, training(), threads, 1);
    }
}

TEST(FrozenGradientTest, GroupsBelowGetNoneAndTheOthersTheSame) {
    for (const auto& [name, config] : all_configs())
        for (bool classifier : heads_of(config)) {
            const HeadConfig head = classifier ? HeadConfig(ClassifierConfig{.classes = 3, .hidden = 6}) : HeadConfig();
            TinyModel model(config, head);
            const std::vector<MicroBatch> batches{classifier ? random_labelled_batch(config, 0, 3, 8, 3, 1)
                                                             : random_batch(config, 0, 3, 8, 1)};
            model.pass(batches, training());
            const std::vector<Real> all(model.store.gradients().begin(), model.store.gradients().end());
            for (int first = 0; first <= static_cast<int>(config.layers) + 1; ++first)
                for (int threads : {1, 2}) {
                    std::fill(model.store.gradients().begin(), model.store.gradients().end(), Real(0));
                    PassOptions o = training();
                    o.first_trained_group = first;
                    model.pass(batches, o, threads);
                    for (const Parameter& p : model.store.parameters())
                        for (std::size_t i = 0; i < p.size(); ++i) {
                            const Real expected = p.group < first ? Real(0) : all[p.offset + i];
                            ASSERT_NEAR(model.store.gradient_of(p)[i], expected, 1e-12 * (1 + std::abs(expected)))
                                << name << ", " << p.name << ", first trained " << first;
                        }
                }
        }
}

}  // namespace
}  // namespace ulmpi::reference
