// Whatever the layout, the same training: 20 steps with dropout on 2 and 4 ranks against the same steps on one, which
// every rank runs again alone. Only the rounding of sums may differ.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <tuple>

#include "base/error.hpp"
#include "tests/reference/documents.hpp"
#include "tests/reference/training.hpp"

namespace ulmpi::reference {
namespace {

constexpr std::uint64_t seed = 11;

/// What is trained, on what.
struct Task {
    ModelConfig config;
    HeadConfig head = {};
    std::size_t global_batch = 8, micro_batch = 1;  ///< sequences
    int first_trained_group = 0;
    std::size_t steps = 20;
    Precision precision = Precision::fp32;
    double tolerance = in_double ? 1e-10 : 2e-5;
    std::vector<std::size_t> lengths = {};  ///< of the documents of a global batch; empty: none is in chunks
    AdamwConfig optimizer = {};
};

/// Sequences [first, last) of step `step`, in micro-batches.
std::vector<MicroBatch> micro_batches(const Task& task, std::size_t step, Range sequences) {
    if (!task.lengths.empty()) {
        const LabelledSet set = random_documents(task.lengths, task.config.vocabulary, task.head->classes, seed + step);
        const std::vector<std::uint32_t> records = all_records(set);
        const DocumentPlace first{sequences.first,
                                  count_chunks(set, std::span(records).first(sequences.first), task.config.context)};
        const std::vector<float> offsets =
            random_offsets(task.head->wide ? set.size() : 0, set.classes.size(), seed + step);
        const std::vector<float> targets =
            random_soft_labels(task.head->wide ? 0 : set.size(), set.classes.size(), seed + step);
        return document_batches(set, std::span(records).subspan(sequences.first, sequences.size()), first,
                                {task.config.context, task.micro_batch, 0, offsets, targets});
    }
    std::vector<MicroBatch> batches;
    for (std::size_t first = sequences.first; first < sequences.last; first += task.micro_batch) {
        const std::size_t count = std::min(task.micro_batch, sequences.last - first);
        const auto global = static_cast<std::uint32_t>(first);
        batches.push_back(task.head ? random_labelled_batch(task.config, global, count, task.config.context,
                                                            task.head->classes, seed + step, task.head->wide)
                                    : random_batch(task.config, global, count, task.config.context, seed + step));
    }
    return batches;
}

struct Outcome {
    std::vector<StepResult> steps;
    std::map<std::string, std::vector<Real>> statistics;  ///< running ones, that this rank holds
};

Outcome train(const Task& task, const Communicator& world, const Layout& layout) {
    const Extents extents = extents_for(world.size(), layout.pipeline, layout.tensor);
    const Range mine = even_slice(task.global_batch, static_cast<std::size_t>(extents.data),
                                  static_cast<std::size_t>(coordinates_of(world.rank(), extents).data));
    const auto micro_batch_count = static_cast<int>((mine.size() + task.micro_batch - 1) / task.micro_batch);
    const bool long_documents = !task.lengths.empty();
    Training training(task.config, task.head, world, layout, task.micro_batch, long_documents ? 100 : micro_batch_count,
                      micro_batch_count, long_documents ? mine.size() : 0, task.optimizer,
                      task.config.recurrent() && !task.head ? task.global_batch : 0);
    const std::size_t targets = task.global_batch * (task.head ? 1 : task.config.context);
    Outcome outcome;
    for (std::size_t step = 0; step < task.steps; ++step)
        outcome.steps.push_back(training.step(micro_batches(task, step, mine), targets, step + 1,
                                              /*max_gradient_norm=*/1, task.first_trained_group));
    for (const Parameter& p : training.store.parameters()) {
        const std::span<const Real> value = training.store.value_of(p);
        if (p.statistic) outcome.statistics[p.name].assign(value.begin(), value.end());
    }
    return outcome;
}

constexpr const char* schedule_names[]{"gpipe", "1f1b", "zb-h1"};

void expect_the_same(const char* name, const Task& task, const std::vector<Layout>& layouts) {
    const Communicator world = Communicator::world(), alone = world.split(world.rank(), 0);
    const Outcome one_rank = train(task, alone, {.precision = task.precision});
    const std::vector<StepResult>& expected = one_rank.steps;
    EXPECT_NE(expected.front().loss, expected.back().loss);
    std::map<std::tuple<int, int, int>, std::vector<StepResult>> one_forward_one_backward;
    for (Layout layout : layouts) {
        layout.precision = task.precision;
        const std::string what = fmt::format("{}: {}, {}, {} threads", name,
                                             to_string(extents_for(world.size(), layout.pipeline, layout.tensor)),
                                             schedule_names[static_cast<int>(layout.schedule)], layout.threads);
        const auto [results, statistics] = train(task, world, layout);
        const auto of = std::tuple(layout.pipeline, layout.tensor, layout.threads);
        if (layout.schedule == PipelineSchedule::one_forward_one_backward) one_forward_one_backward[of] = results;
        if (layout.schedule == PipelineSchedule::zero_bubble) {
            EXPECT_EQ(one_forward_one_backward.at(of), results) << what << ": the same sums in the same order";
        }
        double loss_error = 0, norm_error = 0;
        for (std::size_t step = 0; step < task.steps; ++step) {
            loss_error = std::max(loss_error, std::abs(results[step].loss / expected[step].loss - 1));
            norm_error = std::max(norm_error, std::abs(results[step].gradient_norm / expected[step].gradient_norm - 1));
        }
        EXPECT_LE(loss_error, task.tolerance) << what;
        EXPECT_LE(norm_error, task.tolerance) << what;
        for (const auto& [statistic, values] : statistics)
            for (std::size_t i = 0; i < values.size(); ++i)
                EXPECT_NEAR(values[i], one_rank.statistics.at(statistic)[i], task.tolerance)
                    << what << ", " << statistic;
        if (world.rank() == 0)
            fmt::print("{}: loss within {:.1e}, gradient norm within {:.1e}\n", what, loss_error, norm_error);
    }
}

/// Every way to lay out the ranks there are, with all schedules where there is a pipeline.
std::vector<Layout> all_layouts(int most_pipeline, int most_tensor) {
    const int ranks = Communicator::world().size();
    std::vector<Layout> layouts;
    for (int pipeline = 1; pipeline <= std::min(ranks, most_pipeline); ++pipeline)
        for (int tensor = 1; tensor <= std::min(ranks, most_tensor); ++tensor) {
            if (ranks % (pipeline * tensor) != 0) continue;
            layouts.push_back({pipeline, tensor});
            if (pipeline == 1) continue;
            layouts.push_back({pipeline, tensor, PipelineSchedule::gpipe});
            layouts.push_back({pipeline, tensor, PipelineSchedule::zero_bubble});
        }
    return layouts;
}

Task four_layers() {
    Task task;
    task.config.layers = 4;
    task.config.hidden = 32;
    task.config.heads = 4;
    task.config.context = 16;
    task.config.vocabulary = 96;
    task.config.embedding_dropout = task.config.attention_dropout = task.config.residual_dropout = 0.1;
    return task;
}

TEST(TopologyParityTest, FourLayersWithDropout) { expect_the_same("4 layers", four_layers(), all_layouts(4, 4)); }

TEST(TopologyParityTest, Threads) {
    std::vector<Layout> layouts{{1, 1}, {2, 1}, {1, 2}};
    if (Communicator::world().size() == 1) layouts = {{1, 1}};
    for (Layout& layout : layouts) layout.threads = 2;
    Task task = four_layers();
    task.micro_batch = 3;
    expect_the_same("threads", task, layouts);
}

// The whole of a sliced matrix is orthogonalised: its slices alone would go elsewhere.
TEST(TopologyParityTest, Muon) {
    Task task = four_layers();
    task.optimizer.muon = true;
    expect_the_same("Muon", task, all_layouts(4, 4));
    task.config.heads = 6;
    task.config.hidden = 36;
    task.config.ffn = 50;
    task.config.activation = Activation::swiglu;
    task.micro_batch = 3;
    task.steps = 10;
    std::vector<Layout> layouts = all_layouts(4, 4);
    for (Layout& layout : layouts) layout.threads = 2;
    expect_the_same("Muon, uneven, 2 threads", task, layouts);
}

// A slice holds heads of keys and values with all queries that share them; a worker their gradients.
TEST(TopologyParityTest, GroupedQueries) {
    Task task = four_layers();
    task.config.heads = 8;
    task.config.query_groups = 4;
    task.config.position = PositionEmbedding::rotary;
    expect_the_same("grouped queries", task, all_layouts(4, 4));
    task.config.query_groups = 2;
    task.micro_batch = 3;
    std::vector<Layout> layouts = all_layouts(4, 2);
    for (Layout& layout : layouts) layout.threads = 3;
    expect_the_same("grouped queries, 3 threads", task, layouts);
}

// Nothing divides anything: 5 layers, 6 heads, 103 tokens, 6 sequences for 4 replicas in micro-batches of 2.
TEST(TopologyParityTest, UnevenSizes) {
    for (bool tied : {true, false}) {
        Task task = four_layers();
        task.config.layers = 5;
        task.config.heads = 6;
        task.config.hidden = 36;
        task.config.ffn = 50;
        task.config.vocabulary = 103;
        task.config.tied = tied;
        task.global_batch = 6;
        task.micro_batch = tied ? 2 : 4;
        task.steps = 10;
        expect_the_same(tied ? "uneven, tied" : "uneven, untied", task, all_layouts(4, 4));
    }
}

TEST(TopologyParityTest, LessSequencesThanReplicas) {
    Task task = four_layers();
    task.global_batch = 3;
    task.steps = 5;
    expect_the_same("3 sequences", task, {{1, 1}});
}

TEST(TopologyParityTest, PostLnMaskedDocumentsAndSwigluRotary) {
    Task task = four_layers();
    task.config.preprocess = "none";
    task.config.postprocess = "dan";
    task.config.position = PositionEmbedding::sinusoidal;
    task.config.activation = Activation::relu;
    task.config.mask_documents = true;
    task.config.end_of_text = 5;
    task.config.vocabulary = 30;
    task.steps = 10;
    expect_the_same("post-LN, masked documents", task, all_layouts(4, 4));
    task = four_layers();
    task.config.normalization = Normalization::rmsnorm;
    task.config.activation = Activation::swiglu;
    task.config.position = PositionEmbedding::rotary;
    task.config.linear_bias = task.config.tied = false;
    task.steps = 10;
    expect_the_same("Llama-like", task, all_layouts(4, 4));
}

// Groups 0 and 1 stay as they are: with pp4 the whole first stage, with pp2 half of it.
TEST(TopologyParityTest, FrozenGroups) {
    for (int first : {1, 2, 3, 5}) {
        Task task = four_layers();
        task.config.tied = first == 2;
        task.first_trained_group = first;
        task.steps = 6;
        expect_the_same(fmt::format("frozen below {}", first).c_str(), task, all_layouts(4, 4));
    }
}

TEST(TopologyParityTest, Classifier) {
    for (int first : {0, 3, 5}) {
        Task task = four_layers();
        task.head = ClassifierConfig{.classes = 5, .hidden = 10, .wide = first == 3};
        task.global_batch = 6;
        task.micro_batch = 2;
        task.first_trained_group = first;
        task.steps = 10;
        expect_the_same(fmt::format("classifier, frozen below {}", first).c_str(), task, all_layouts(4, 4));
    }
}

// Up to 9 chunks: documents of one, of as many as a micro-batch takes, and of more, which GPipe plays in rounds. In
// float two tokens of many may be level for a maximum, and rounding chooses which of them gets the gradient.
TEST(TopologyParityTest, DocumentsLongerThanTheContext) {
    for (int first : {0, 3, 5}) {
        Task task = four_layers();
        task.head = ClassifierConfig{.classes = 5, .hidden = 10, .wide = first == 0};
        task.head->pooling = in_double ? Pooling::concat : Pooling::mean;
        task.lengths = {5, 40, 16, 80, 12, 17, 33, 24};
        task.micro_batch = 3;
        task.first_trained_group = first;
        task.steps = 4;
        std::vector<Layout> layouts = all_layouts(4, 4);
        if (Communicator::world().size() < 4) layouts.push_back({.threads = 2});
        expect_the_same(fmt::format("long documents, frozen below {}", first).c_str(), task, layouts);
    }
}

// Normalised over the rows of a micro-batch, so micro-batches must be the same under every layout. A feature that is
// nearly constant there is divided by nearly nothing and makes rounding large: a few steps agree, many need not. No
// biases: BatchNorm takes them out again, so that their gradient is noise, which Adam amplifies.
TEST(TopologyParityTest, ClassifierWithBatchNorm) {
    Task task = four_layers();
    task.head = ClassifierConfig{.classes = 5, .hidden = 10};
    task.head->norm = HeadNormKind::batchnorm;
    task.config.normalization = Normalization::rmsnorm;
    task.config.linear_bias = false;
    task.micro_batch = 4;
    task.global_batch = 16;
    task.steps = 3;
    expect_the_same("classifier with BatchNorm", task, all_layouts(4, 4));
}

// Units of every gate are dealt to slices, and streams to replicas, each with the states that it carries.
TEST(TopologyParityTest, AwdLstm) {
    Task task;
    task.config = recurrent_configs()[1].config;
    task.config.vocabulary = 61;
    task.config.layers = 4;
    task.steps = 10;
    expect_the_same("AWD-LSTM", task, all_layouts(4, 4));
    std::vector<Layout> layouts = Communicator::world().size() == 1 ? std::vector<Layout>{{1, 1}} : all_layouts(2, 2);
    for (Layout& layout : layouts) layout.threads = 2;
    task.micro_batch = 3;
    task.first_trained_group = 2;
    expect_the_same("AWD-LSTM, frozen below 2, 2 threads", task, layouts);
    task.head = ClassifierConfig{.classes = 5, .hidden = 10};
    task.first_trained_group = 0;
    expect_the_same("AWD-LSTM, classifier", task, all_layouts(4, 4));
}

// Two lanes over every edge: source and target to the encoder's end, then target and memory.
TEST(TopologyParityTest, EncoderDecoder) {
    for (NamedConfig& named : encoder_decoder_configs()) {
        Task task;
        task.config = named.config;
        task.config.layers = 5;
        task.config.heads = 4;
        task.config.vocabulary = 61;
        task.steps = 10;
        expect_the_same(named.name, task, all_layouts(4, 4));
        std::vector<Layout> layouts =
            Communicator::world().size() == 1 ? std::vector<Layout>{{1, 1}} : all_layouts(2, 2);
        for (Layout& layout : layouts) layout.threads = 2;
        task.micro_batch = 3;
        task.first_trained_group = 3;
        expect_the_same((std::string(named.name) + ", frozen below 3, 2 threads").c_str(), task, layouts);
        // The last stage holds the encoder's end, below which it is frozen.
        task.config.encoder_layers = 4;
        task.first_trained_group = 5;
        expect_the_same((std::string(named.name) + ", frozen below 5").c_str(), task, all_layouts(2, 2));
    }
}

// Where a sum differs in its last bit, the next rounding to bf16 may go the other way: 2^-9 of one factor.
TEST(TopologyParityTest, Bf16) {
    try {
        check_precision(Precision::bf16);
    } catch (const UsageError& reason) {
        GTEST_SKIP() << reason.what();
    }
    Task task = four_layers();
    task.precision = Precision::bf16;
    task.tolerance = 2e-3;
    expect_the_same("bf16", task, all_layouts(4, 4));
}

}  // namespace
}  // namespace ulmpi::reference
