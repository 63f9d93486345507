// Golden runs: tiny language models trained for ten steps by PyTorch in float64. From the same weights and tokens this
// program must see the same losses and gradient norms, and end at the same weights, under every layout that fits.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "base/files/hdf5_file.hpp"
#include "training/train_step.hpp"

namespace ulmpi {
namespace {

namespace fs = std::filesystem;

constexpr bool in_double = std::is_same_v<Real, double>;
constexpr double loss_tolerance = in_double ? 1e-12 : 2e-5;
constexpr double weight_tolerance = in_double ? 1e-9 : 2e-5;

fs::path golden_folder() {
    const char* named = std::getenv("ULMPI_GOLDEN_DIR");
    return named ? fs::path(named) : fs::path(ULMPI_SOURCE_DIR) / "tests" / "golden";
}

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
        config.activation = activation_from(text("activation"));
        config.position = position_embedding_from(text("position"));
        config.tied = size("tied") != 0;
        config.norm_eps = real("eps");
        const bool pre = text("residual") == "pre";
        config.preprocess = pre ? "n" : "none";
        config.postprocess = pre ? "da" : "dan";
        adamw = {real("beta1"), real("beta2"), real("adam_eps"), real("weight_decay")};
        batch = size("batch");
        steps = size("steps");
        tokens = file_.read<std::int32_t>("tokens");
        losses = file_.read<double>("losses");
        norms = file_.read<double>("grad_norms");
    }
    double real(const std::string& name) const { return file_.real_attribute("/", name); }
    std::vector<double> tensor(const std::string& name) const { return file_.read<double>(name); }

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

/// The indices in the whole tensor of this rank's elements, in the order in which it holds them.
std::vector<std::size_t> indices_of(const Parameter& p) {
    std::vector<std::size_t> indices;
    const std::size_t rows = p.global.extent[0], columns = p.global.extent[1];
    std::vector<Range> row_ranges{{0, rows}}, column_ranges{{0, columns}};
    if (!p.slicing.whole()) (p.slicing.axis == 0 ? row_ranges : column_ranges) = p.slicing.ranges;
    for (Range r : row_ranges)
        for (std::size_t row = r.first; row < r.last; ++row)
            for (Range c : column_ranges)
                for (std::size_t column = c.first; column < c.last; ++column) indices.push_back(row * columns + column);
    return indices;
}

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

struct Layout {
    const char* name;
    int pipeline, tensor;
    PipelineSchedule schedule;
};

void run(const fs::path& path, const Layout& layout, int threads) {
    const Communicator world = Communicator::world();
    const Golden golden(path);
    SCOPED_TRACE(
        fmt::format("{} {} of {} ranks, {} threads", path.filename().string(), layout.name, world.size(), threads));
    const Topology topology(world, extents_for(world.size(), layout.pipeline, layout.tensor));
    ParameterStore store;
    const StagePlace place{topology.at.stage, layout.pipeline, topology.at.slice, layout.tensor};
    Stage stage(golden.config, {}, store, place, topology.tensor);
    store.allocate(true);
    for (const Parameter& p : store.parameters()) {
        const std::vector<double> whole = golden.tensor("initial/" + p.name);
        const std::vector<std::size_t> indices = indices_of(p);
        for (std::size_t i = 0; i < indices.size(); ++i) store.value_of(p)[i] = static_cast<Real>(whole.at(indices[i]));
    }
    Optimizer optimizer(store, golden.adamw);
    stage.prepare({1, golden.config.context,
                   slots_needed(layout.schedule, place, static_cast<int>(golden.batch), static_cast<int>(golden.batch)),
                   threads, true});
    Trainee trainee{stage, store, optimizer, topology, layout.schedule, threads};
    const GroupRates rates{std::vector<double>(golden.config.layers + 2, golden.real("lr")), 0};
    PassOptions options;
    options.loss_scale = 1.0 / static_cast<double>(golden.batch * golden.config.context);
    for (std::size_t step = 0; step < golden.steps; ++step) {
        const std::vector<MicroBatch> batches = batches_of(golden, step, topology);
        const StepResult result = train_step(trainee, batches, options, rates, golden.real("clip"), step + 1);
        EXPECT_NEAR(result.loss / golden.losses[step], 1, loss_tolerance) << "loss of step " << step + 1;
        EXPECT_NEAR(result.gradient_norm / golden.norms[step], 1, in_double ? 1e-10 : 2e-5)
            << "norm of step " << step + 1;
    }
    // The gradient of qkv.bias's key third is zero in truth (a constant added to all keys changes no softmax), and Adam
    // turns its rounding noise into steps.
    for (const Parameter& p : store.parameters()) {
        const std::vector<double> final = golden.tensor("final/" + p.name);
        const std::vector<std::size_t> indices = indices_of(p);
        const bool qkv_bias = p.name.ends_with("attention.qkv.bias");
        double difference = 0, norm = 0;
        for (std::size_t i = 0; i < indices.size(); ++i) {
            if (qkv_bias && indices[i] / golden.config.hidden == 1) continue;
            const double expected = final.at(indices[i]), d = static_cast<double>(store.value_of(p)[i]) - expected;
            difference += d * d;
            norm += expected * expected;
        }
        std::array<double, 2> sums{difference, norm};  // over the slices: the whole tensor's
        topology.tensor.all_reduce_sum(std::span<double>(sums));
        EXPECT_LE(std::sqrt(sums[0]), weight_tolerance * std::sqrt(sums[1])) << p.name;
    }
}

bool fits(const Golden& golden, const Layout& layout) {
    return static_cast<std::size_t>(layout.pipeline) <= golden.config.layers &&
           static_cast<std::size_t>(layout.tensor) <= golden.config.heads;
}

TEST(GoldenTest, MatchesPyTorch) {
    const int ranks = Communicator::world().size();
    std::vector<Layout> layouts;
    if (ranks == 1) layouts = {{"one rank", 1, 1, PipelineSchedule::one_forward_one_backward}};
    if (ranks == 2)
        layouts = {{"dp2", 1, 1, PipelineSchedule::one_forward_one_backward},
                   {"tp2", 1, 2, PipelineSchedule::one_forward_one_backward},
                   {"pp2", 2, 1, PipelineSchedule::one_forward_one_backward},
                   {"pp2 gpipe", 2, 1, PipelineSchedule::gpipe}};
    if (ranks == 4)
        layouts = {{"tp2 x pp2", 2, 2, PipelineSchedule::one_forward_one_backward},
                   {"tp4", 1, 4, PipelineSchedule::one_forward_one_backward},
                   {"dp2 x tp2", 1, 2, PipelineSchedule::one_forward_one_backward}};
    std::size_t files = 0;
    ASSERT_TRUE(fs::is_directory(golden_folder())) << golden_folder() << " holds the golden runs; set ULMPI_GOLDEN_DIR";
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(golden_folder()))
        if (entry.path().extension() == ".h5") paths.push_back(entry.path());
    std::sort(paths.begin(), paths.end());
    for (const fs::path& path : paths) {
        ++files;
        const Golden golden(path);
        for (const Layout& layout : layouts) {
            const bool runs = fits(golden, layout);
            if (Communicator::world().rank() == 0)
                fmt::print("{} {} {}\n", runs ? "golden" : "skipped: sizes do not permit", path.filename().string(),
                           layout.name);
            if (!runs) continue;
            run(path, layout, 1);
            if (ranks <= 2) run(path, layout, 2);
        }
    }
    EXPECT_GT(files, 0u) << "no .h5 file in " << golden_folder();
}

}  // namespace
}  // namespace ulmpi
