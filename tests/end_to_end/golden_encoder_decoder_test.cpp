// Golden runs of the encoder-decoder of 2017: sources and targets with pads, label smoothing, two stacks.

#include <fmt/format.h>

#include <numeric>

#include "tests/reference/golden.hpp"

namespace ulmpi {
namespace {

using namespace reference;

struct Golden {
    explicit Golden(const std::filesystem::path& path) : file(Hdf5File::open(path)) {
        config.architecture = Architecture::encoder_decoder;
        config.encoder_layers = size("encoder_layers");
        config.layers = config.encoder_layers + size("decoder_layers");
        config.hidden = size("width");
        config.heads = size("heads");
        config.ffn = size("ffn");
        config.context = size("context");
        config.source_context = size("source_context");
        config.vocabulary = size("vocab");
        config.activation = activation_from(text("activation"));
        config.position = position_embedding_from(text("position"));
        config.preprocess = text("preprocess");
        config.postprocess = text("postprocess");
        config.norm_eps = real("eps");
        config.linear_bias = size("ffn_bias") != 0;
        config.attention_bias = size("attention_bias") != 0;
        config.scale_embedding = size("scale_embedding") != 0;
        batch = size("batch");
        steps = size("steps");
        source = file.read<std::int64_t>("source");
        source_lengths = file.read<std::int64_t>("source_lengths");
        target = file.read<std::int64_t>("target");
        target_lengths = file.read<std::int64_t>("target_lengths");
        losses = file.read<double>("losses");
        norms = file.read<double>("grad_norms");
    }
    double real(const std::string& name) const { return file.real_attribute("/", name); }
    std::string text(const std::string& name) const { return file.text_attribute("/", name); }
    std::size_t size(const std::string& name) const {
        return static_cast<std::size_t>(file.integer_attribute("/", name));
    }
    /// Targets of the step's global batch that are no pads.
    double targets(std::size_t step) const {
        const auto first = target_lengths.begin() + static_cast<std::ptrdiff_t>(step * batch);
        return static_cast<double>(std::accumulate(first, first + static_cast<std::ptrdiff_t>(batch), std::int64_t{}));
    }

    Hdf5File file;
    ModelConfig config;
    std::size_t batch, steps;
    std::vector<std::int64_t> source, source_lengths, target, target_lengths;
    std::vector<double> losses, norms;
};

/// This replica's pairs, one a micro-batch.
std::vector<MicroBatch> batches_of(const Golden& golden, std::size_t step, const Topology& topology) {
    const std::size_t length = golden.config.context, source_length = golden.config.source_context;
    const Range rows = even_slice(golden.batch, static_cast<std::size_t>(topology.extents.data),
                                  static_cast<std::size_t>(topology.at.data));
    std::vector<MicroBatch> batches;
    for (std::size_t row = rows.first; row < rows.last; ++row) {
        const std::size_t pair = step * golden.batch + row;
        MicroBatch& b = batches.emplace_back();
        b.sequences = 1;
        b.length = length;
        b.source_length = source_length;
        b.source_lengths = {static_cast<std::int32_t>(golden.source_lengths[pair])};
        for (std::size_t t = 0; t < source_length; ++t)
            b.sources.push_back(static_cast<Token>(golden.source[pair * source_length + t]));
        for (std::size_t t = 0; t < length; ++t) {
            const auto at = [&](std::size_t i) { return static_cast<Token>(golden.target[pair * (length + 1) + i]); };
            b.inputs.push_back(at(t));
            b.targets.push_back(static_cast<std::int64_t>(t) < golden.target_lengths[pair] ? at(t + 1) : -1);
        }
        b.first_sequence = static_cast<std::uint32_t>(row);
    }
    return batches;
}

/// Keys' biases: a constant added to all keys changes no softmax.
bool is_noise(const Parameter& p, std::size_t index) {
    const std::size_t width = p.global.extent[0] / 3;
    if (p.name.ends_with("attention.qkv.bias")) return index / width == 1;
    return p.name.ends_with("cross_attention.kv.bias") && index < p.global.extent[0] / 2;
}

void run(const std::filesystem::path& path, const GoldenLayout& layout, int threads) {
    const Communicator world = Communicator::world();
    const Golden golden(path);
    SCOPED_TRACE(
        fmt::format("{} {} of {} ranks, {} threads", path.filename().string(), layout.name, world.size(), threads));
    const Topology topology(world, extents_for(world.size(), layout.pipeline, layout.tensor));
    ParameterStore store;
    const StagePlace place{topology.at.stage, layout.pipeline, topology.at.slice, layout.tensor};
    Stage stage(golden.config, {}, store, place, topology.tensor);
    store.allocate(true);
    fill_from(golden.file, store);
    Optimizer optimizer(
        store, {golden.real("beta1"), golden.real("beta2"), golden.real("adam_eps"), golden.real("weight_decay")});
    const auto micro_batches = static_cast<int>(golden.batch);
    stage.prepare({.length = golden.config.context,
                   .slots = slots_needed(layout.schedule, place, micro_batches, micro_batches),
                   .threads = threads,
                   .source_length = golden.config.source_context,
                   .weights_later = has_weights_passes(layout.schedule, layout.pipeline)});
    Trainee trainee{stage, store, optimizer, topology, layout.schedule, threads};
    const GroupRates rates{std::vector<double>(golden.config.layers + 2, golden.real("lr")), 0};
    PassOptions options;
    options.label_smoothing = golden.real("label_smoothing");
    for (std::size_t step = 0; step < golden.steps; ++step) {
        options.loss_scale = 1 / golden.targets(step);
        const StepResult result =
            train_step(trainee, batches_of(golden, step, topology), options, rates, golden.real("clip"), step + 1);
        EXPECT_NEAR(result.loss / golden.losses[step], 1, loss_tolerance) << "loss of step " << step + 1;
        EXPECT_NEAR(result.gradient_norm / golden.norms[step], 1, norm_tolerance) << "norm of step " << step + 1;
    }
    expect_final(golden.file, store, topology, is_noise);
}

TEST(GoldenEncoderDecoderTest, MatchesPyTorch) {
    const int ranks = Communicator::world().size();
    for (const char* name : {"encoder_decoder_post.h5", "encoder_decoder_pre.h5"})
        for (const GoldenLayout& layout : golden_layouts(ranks)) {
            const std::filesystem::path path = golden_folder(ULMPI_SOURCE_DIR) / "systems" / name;
            run(path, layout, 1);
            if (ranks <= 2) run(path, layout, 2);
        }
}

}  // namespace
}  // namespace ulmpi
