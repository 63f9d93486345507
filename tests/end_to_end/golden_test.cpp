// Golden runs: tiny language models trained for ten steps by PyTorch in float64. From the same weights and tokens this
// program must see the same losses and gradient norms, and end at the same weights, under every layout that fits.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>

#include "tests/reference/golden.hpp"

namespace ulmpi {
namespace {

using namespace reference;

namespace fs = std::filesystem;

/// One file: its settings, and what is read from it as it is needed.
class Golden {
public:
    explicit Golden(const fs::path& path) : file_(Hdf5File::open(path)) {
        config.layers = size("layers");
        config.hidden = size("width");
        config.heads = size("heads");
        config.ffn = size("ffn");
        config.context = size("context");
        config.vocabulary = size("vocab");
        config.normalization = normalization_from(text("norm"));
        config.linear_bias = config.normalization == Normalization::layernorm;
        if (file_.has_attribute("/", "kv_heads") && size("kv_heads") != config.heads)
            config.query_groups = size("kv_heads");
        config.activation = activation_from(text("activation"));
        config.position = position_embedding_from(text("position"));
        config.tied = size("tied") != 0;
        config.norm_eps = real("eps");
        const bool pre = text("residual") == "pre";
        config.preprocess = pre ? "n" : "none";
        config.postprocess = pre ? "da" : "dan";
        if (text("residual") == "strings") {
            config.preprocess = text("preprocess");
            config.postprocess = text("postprocess");
        }
        adamw = {real("beta1"), real("beta2"), real("adam_eps"), real("weight_decay")};
        batch = size("batch");
        steps = size("steps");
        tokens = file_.read<std::int32_t>("tokens");
        losses = file_.read<double>("losses");
        norms = file_.read<double>("grad_norms");
    }
    double real(const std::string& name) const { return file_.real_attribute("/", name); }
    const Hdf5File& file() const { return file_; }

    ModelConfig config;
    AdamwConfig adamw;
    std::size_t batch, steps;
    std::vector<std::int32_t> tokens;
    std::vector<double> losses, norms;

private:
    std::size_t size(const std::string& name) const {
        return static_cast<std::size_t>(file_.integer_attribute("/", name));
    }
    std::string text(const std::string& name) const { return file_.text_attribute("/", name); }
    Hdf5File file_;
};

/// This replica's part of the step's batch, one sequence a micro-batch, so that pipelines have several.
std::vector<MicroBatch> batches_of(const Golden& golden, std::size_t step, const Topology& topology) {
    const std::size_t length = golden.config.context;
    const Range rows = even_slice(golden.batch, static_cast<std::size_t>(topology.extents.data),
                                  static_cast<std::size_t>(topology.at.data));
    std::vector<MicroBatch> batches;
    for (std::size_t row = rows.first; row < rows.last; ++row) {
        const std::int32_t* window = golden.tokens.data() + (step * golden.batch + row) * (length + 1);
        MicroBatch b;
        b.sequences = 1;
        b.length = length;
        b.inputs.assign(window, window + length);
        b.targets.assign(window + 1, window + length + 1);
        b.first_sequence = static_cast<std::uint32_t>(row);
        batches.push_back(b);
    }
    return batches;
}

void run(const fs::path& path, const GoldenLayout& layout, int threads) {
    const Communicator world = Communicator::world();
    const Golden golden(path);
    SCOPED_TRACE(
        fmt::format("{} {} of {} ranks, {} threads", path.filename().string(), layout.name, world.size(), threads));
    const Topology topology(world, extents_for(world.size(), layout.pipeline, layout.tensor));
    ParameterStore store;
    const StagePlace place{topology.at.stage, layout.pipeline, topology.at.slice, layout.tensor};
    Stage stage(golden.config, {}, store, place, topology.tensor);
    store.allocate(true);
    fill_from(golden.file(), store);
    Optimizer optimizer(store, golden.adamw);
    const auto micro_batches = static_cast<int>(golden.batch);
    stage.prepare({.length = golden.config.context,
                   .slots = slots_needed(layout.schedule, place, micro_batches, micro_batches),
                   .threads = threads,
                   .weights_later = has_weights_passes(layout.schedule, layout.pipeline)});
    Trainee trainee{stage, store, optimizer, topology, layout.schedule, threads};
    const GroupRates rates{std::vector<double>(golden.config.layers + 2, golden.real("lr")), 0};
    PassOptions options;
    options.loss_scale = 1.0 / static_cast<double>(golden.batch * golden.config.context);
    for (std::size_t step = 0; step < golden.steps; ++step) {
        const std::vector<MicroBatch> batches = batches_of(golden, step, topology);
        const StepResult result = train_step(trainee, batches, options, rates, golden.real("clip"), step + 1);
        EXPECT_NEAR(result.loss / golden.losses[step], 1, loss_tolerance) << "loss of step " << step + 1;
        EXPECT_NEAR(result.gradient_norm / golden.norms[step], 1, norm_tolerance) << "norm of step " << step + 1;
    }
    // The gradient of qkv.bias's key third is zero in truth: a constant added to all keys changes no softmax.
    expect_final(golden.file(), store, topology, [&](const Parameter& p, std::size_t index) {
        const std::size_t keys = golden.config.key_heads() * golden.config.head_size();
        return p.name.ends_with("attention.qkv.bias") && index >= golden.config.hidden &&
               index < golden.config.hidden + keys;
    });
}

bool fits(const Golden& golden, const GoldenLayout& layout) {
    return static_cast<std::size_t>(layout.pipeline) <= golden.config.layers &&
           static_cast<std::size_t>(layout.tensor) <= golden.config.key_heads();
}

TEST(GoldenTest, MatchesPyTorch) {
    const int ranks = Communicator::world().size();
    const std::vector<GoldenLayout> layouts = golden_layouts(ranks);
    std::size_t files = 0;
    ASSERT_TRUE(fs::is_directory(golden_folder(ULMPI_SOURCE_DIR)))
        << golden_folder(ULMPI_SOURCE_DIR) << " holds the golden runs; set ULMPI_GOLDEN_DIR";
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(golden_folder(ULMPI_SOURCE_DIR)))
        if (entry.path().extension() == ".h5") paths.push_back(entry.path());
    for (const char* name : {"strings_n_a.h5", "strings_none_dna.h5", "multi_query.h5", "grouped_query.h5"})
        paths.push_back(golden_folder(ULMPI_SOURCE_DIR) / "systems" / name);
    std::sort(paths.begin(), paths.end());
    for (const fs::path& path : paths) {
        ++files;
        const Golden golden(path);
        for (const GoldenLayout& layout : layouts) {
            const bool runs = fits(golden, layout);
            if (Communicator::world().rank() == 0)
                fmt::print("{} {} {}\n", runs ? "golden" : "skipped: sizes do not permit", path.filename().string(),
                           layout.name);
            if (!runs) continue;
            run(path, layout, 1);
            if (ranks <= 2) run(path, layout, 2);
        }
    }
    EXPECT_GT(files, 0u) << "no .h5 file in " << golden_folder(ULMPI_SOURCE_DIR);
}

}  // namespace
}  // namespace ulmpi
