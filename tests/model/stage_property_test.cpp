// What must hold of a stage whatever it computes: no row hears of its neighbours, memory is what was planned, weights
// do not depend on slices.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "base/error.hpp"
#include "tests/reference/tiny_model.hpp"

namespace ulmpi::reference {
namespace {

// Matrix products of more or fewer rows may add in another order, so that the last bits of a float may differ.
constexpr double row_tolerance = in_double ? 1e-14 : 1e-6;

/// `row` among `others` in a batch of `length`, at place `at`.
MicroBatch among(const std::vector<Token>& row, std::size_t others, std::size_t at, std::size_t length,
                 const ModelConfig& c, Token padding) {
    MicroBatch b = random_labelled_batch(c, 50, others + 1, length, 2, 17 * others + at);
    for (std::size_t t = 0; t < length; ++t) b.inputs[at * length + t] = t < row.size() ? row[t] : padding;
    b.lengths[at] = static_cast<std::int32_t>(row.size());
    if (c.reads_sources()) {  // always the same one
        b.source_lengths[at] = 4;
        for (std::size_t t = 0; t < b.source_length; ++t)
            b.sources[at * b.source_length + t] = t < 4 ? static_cast<Token>(t + 2) : padding;
    }
    return b;
}

TEST(StagePropertyTest, ARowIsPredictedAloneAsInCompany) {
    for (const auto& [name, config] : all_configs())
        for (bool classifier : heads_of(config)) {
            const HeadConfig head = classifier ? HeadConfig(ClassifierConfig{.classes = 5, .hidden = 9}) : HeadConfig();
            TinyModel model(config, head);
            PassOptions o;
            o.training = false;
            o.predict = true;
            const std::size_t outputs = classifier ? 5 : config.vocabulary;
            const std::vector<Token> row{2, 5, 1, 4, 3, 6};
            model.pass({among(row, 0, 0, row.size(), config, 0)}, o);
            const std::vector<Real> alone = model.stage.scores();
            ASSERT_EQ(alone.size(), outputs);
            double largest = 1, worst = 0;
            for (Real x : alone) largest = std::max(largest, std::abs(static_cast<double>(x)));
            for (std::size_t others : {0u, 1u, 4u, 12u})
                for (std::size_t length : {6u, 7u, 9u})
                    for (int threads : {1, 2, 3}) {
                        const std::size_t at = others / 2;
                        const auto padding = static_cast<Token>(others % 3);
                        const MicroBatch company = among(row, others, at, length, config, padding);
                        model.pass({random_labelled_batch(config, 0, 2, 4, 2, 1), company}, o, threads);
                        for (std::size_t k = 0; k < outputs; ++k) {
                            const Real score = model.stage.scores()[(2 + at) * outputs + k];
                            worst = std::max(worst, std::abs(static_cast<double>(score - alone[k])));
                        }
                    }
            EXPECT_LE(worst, row_tolerance * largest) << name << (classifier ? ", classifier" : ", next token");
        }
}

// To the byte.
void expect_memory_as_planned(Precision precision) {
    std::vector<NamedConfig> configs = all_configs();
    ModelConfig larger;
    larger.layers = 3;
    larger.hidden = 64;
    larger.context = 96;
    larger.vocabulary = 501;
    configs.push_back({"larger", larger});
    larger.residual_dropout = 0.1;
    larger.activation = Activation::swiglu;
    configs.push_back({"larger, dropout, SwiGLU", larger});
    larger.ffn = 5;  // as of one of many slices
    configs.push_back({"larger, dropout, SwiGLU, narrow", larger});
    larger.ffn = 0;
    larger.preprocess = "none";
    larger.postprocess = "dan";
    configs.push_back({"larger, post-LN", larger});
    for (const auto& [name, config] : configs) {
        const HeadConfig heads[] = {{},
                                    ClassifierConfig{.classes = 3, .hidden = 50},
                                    ClassifierConfig{.classes = 7, .hidden = 5, .pooling = Pooling::last}};
        for (const HeadConfig& head : std::span(heads).first(config.reads_sources() ? 1 : 3))
            for (std::size_t sequences : {1u, 3u, 8u})
                for (std::size_t length : {std::size_t{5}, config.context})
                    for (int threads : {1, 3}) {
                        if (threads == 3 && sequences == 3) continue;  // slow where cores are few, and says no more
                        TinyModel model(config, head, precision);
                        model.pass({head ? random_labelled_batch(config, 0, sequences, length, 3, 1)
                                         : random_batch(config, 0, sequences, length, 1)},
                                   {}, threads);
                        const ActivationBytes used = model.stage.most_used(),
                                              planned =
                                                  model.stage.activation_bytes({sequences, length, 1, threads, true,
                                                                                precision, 0, config.source_context});
                        const std::string what =
                            fmt::format("{}, {}, {} x {}, {} threads: ", name, head ? "classifier" : "language model",
                                        sequences, length, threads);
                        EXPECT_EQ(planned.kept, used.kept) << what << "kept";
                        EXPECT_EQ(planned.shared, used.shared) << what << "shared";
                        EXPECT_EQ(planned.own, used.own) << what << "own";
                    }
    }
}

TEST(StagePropertyTest, MemoryIsWhatWasPlanned) { expect_memory_as_planned(Precision::fp32); }

// No T x T matrix is kept or made: twice the length takes twice the activations, and not more of anything else.
TEST(StagePropertyTest, MemoryGrowsLinearlyWithTheLength) {
    for (Precision precision : {Precision::fp32, Precision::bf16}) {
        const auto at = [&](std::size_t length) {
            ModelConfig config;
            config.layers = 6;
            config.hidden = 512;
            config.heads = 8;
            config.context = length;
            config.vocabulary = 8192;
            return planned_bytes(config, {}, {1, length, 1, 2, true, precision});
        };
        for (std::size_t length : {1024u, 2048u, 4096u}) {
            const ActivationBytes once = at(length), twice = at(2 * length);
            EXPECT_NEAR(static_cast<double>(twice.kept) / static_cast<double>(once.kept), 2, 1e-4) << length;
            EXPECT_LE(twice.shared, 2 * once.shared) << length;
            EXPECT_LE(twice.own, 2 * once.own) << length;
        }
    }
}

TEST(StagePropertyTest, MemoryIsWhatWasPlannedInBf16) {
    try {
        check_precision(Precision::bf16);
    } catch (const UsageError& reason) {
        GTEST_SKIP() << reason.what();
    }
    expect_memory_as_planned(Precision::bf16);
}

// A smaller batch than planned fits whatever its shape.
TEST(StagePropertyTest, SmallerBatchesFitThePlan) {
    for (const auto& [name, config] : all_configs())
        for (int threads : {1, 3}) {
            Communicator world = Communicator::world();
            ParameterStore store;
            Stage stage(config, {}, store, {}, world);
            store.allocate(true);
            spread_weights(store, 1);
            stage.prepare({5, config.context, 1, threads, true, Precision::fp32, 0, config.source_context});
            for (std::size_t sequences = 1; sequences <= 5; ++sequences)
                for (std::size_t length = 1; length <= config.context; length += 2) {
                    const std::vector<MicroBatch> batches{random_batch(config, 0, sequences, length, 1)};
                    const PassOptions options;
                    stage.start(batches, options);
                    run_team(threads, [&](const Team& team) {
                        play_schedule(one_forward_one_backward(0, 1, 1), stage, {false, false}, world, team);
                    });
                    EXPECT_GT(stage.loss(), 0) << name;
                }
        }
}

/// Where a slice's elements lie in the whole tensor.
std::vector<std::size_t> places(const Parameter& p) {
    std::vector<std::size_t> result;
    const std::size_t columns = p.global.extent[1];
    for (std::size_t i = 0; i < p.global.size(); ++i) {
        const std::size_t along = p.slicing.axis == 0 ? i / columns : i % columns;
        const auto holds = [&](Range range) { return range.contains(along); };
        if (p.slicing.whole() || std::any_of(p.slicing.ranges.begin(), p.slicing.ranges.end(), holds))
            result.push_back(i);
    }
    return result;
}

TEST(StagePropertyTest, WeightsAreDrawnTheSameUnderEveryLayout) {
    const Communicator world = Communicator::world();
    for (const auto& [name, small] : all_configs())
        for (bool classifier : heads_of(small)) {
            ModelConfig config = small;
            config.layers = 5;
            config.heads = 6;
            const HeadConfig head = classifier ? HeadConfig(ClassifierConfig{.classes = 3, .hidden = 6}) : HeadConfig();
            ParameterStore whole;
            const Stage all(config, head, whole, {}, world);
            whole.allocate(false);
            whole.initialize(42);
            std::map<std::string, std::span<const Real>> values;
            for (const Parameter& p : whole.parameters()) values[p.name] = std::as_const(whole).value_of(p);
            for (int stages = 1; stages <= 3; ++stages)
                for (int slices = 1; slices <= 4; ++slices) {
                    std::map<std::string, std::vector<int>> counted;
                    std::size_t elements = 0;
                    for (int stage = 0; stage < stages; ++stage)
                        for (int slice = 0; slice < slices; ++slice) {
                            ParameterStore part;
                            const Stage here(config, head, part, {stage, stages, slice, slices}, world);
                            part.allocate(false);
                            part.initialize(42);
                            elements += part.counted_elements();
                            for (const Parameter& p : part.parameters()) {
                                const std::vector<std::size_t> at = places(p);
                                ASSERT_EQ(at.size(), p.size()) << p.name;
                                counted[p.name].resize(p.global.size());
                                for (std::size_t i = 0; i < at.size(); ++i) {
                                    ASSERT_EQ(part.value_of(p)[i], values.at(p.name)[at[i]]) << name << ", " << p.name;
                                    counted[p.name][at[i]] += p.counted ? 1 : 0;
                                }
                            }
                        }
                    EXPECT_EQ(elements, whole.counted_elements()) << name;
                    EXPECT_EQ(counted.size(), values.size()) << name;
                    for (const auto& [tensor, counts] : counted)
                        EXPECT_EQ(counts, std::vector<int>(counts.size(), 1))
                            << tensor << ": every element counts once, " << stages << " stages, " << slices
                            << " slices";
                }
        }
}

TEST(StagePropertyTest, FirstWeightsHaveTheirDeviations) {
    ModelConfig config;
    config.layers = 8;
    config.vocabulary = 300;
    for (bool zero : {false, true}) {
        config.zero_residual_init = zero;
        const Communicator world = Communicator::world();
        ParameterStore store;
        const Stage stage(config, {}, store, {}, world);
        store.allocate(false);
        store.initialize(1);
        for (const Parameter& p : store.parameters()) {
            double sum = 0, squares = 0;
            for (Real w : store.value_of(p)) {
                sum += static_cast<double>(w);
                squares += std::pow(static_cast<double>(w), 2);
            }
            const auto n = static_cast<double>(p.size());
            const bool residual = p.name.ends_with("out.weight") || p.name.ends_with("down.weight");
            double deviation = p.name.ends_with("bias") ? 0 : residual ? (zero ? 0 : 0.02 / 4) : 0.02;
            if (p.name.find("norm") != std::string::npos) deviation = 0;
            const double mean = p.name.find("norm") != std::string::npos && p.name.ends_with("weight") ? 1 : 0;
            EXPECT_NEAR(sum / n, mean, 5 * deviation / std::sqrt(n)) << p.name;
            EXPECT_NEAR(std::sqrt(squares / n - mean * mean), deviation, 5 * deviation / std::sqrt(2 * n)) << p.name;
        }
    }
}

}  // namespace
}  // namespace ulmpi::reference
