// Golden runs of AWD-LSTM: windows of several lengths along three streams, with masks that PyTorch drew.

#include <fmt/format.h>

#include <numeric>

#include "tests/reference/golden.hpp"

namespace ulmpi {
namespace {

using namespace reference;

struct Golden {
    explicit Golden(const std::filesystem::path& path) : file(Hdf5File::open(path)) {
        config.architecture = Architecture::awd_lstm;
        config.layers = size("layers");
        config.embedding = size("embedding");
        config.hidden = size("hidden");
        config.vocabulary = size("vocab");
        config.embedding_dropout = real("embedding_dropout");
        config.input_dropout = real("input_dropout");
        config.hidden_dropout = real("hidden_dropout");
        config.output_dropout = real("output_dropout");
        config.weight_dropout = real("weight_dropout");
        config.activation_reg = real("activation_reg");
        config.temporal_reg = real("temporal_reg");
        tokens = file.read<std::int32_t>("tokens");
        for (const std::int64_t window : file.read<std::int64_t>("windows"))
            windows.push_back(static_cast<std::size_t>(window));
        config.context = *std::ranges::max_element(windows);
        losses = file.read<double>("losses");
        norms = file.read<double>("grad_norms");
    }
    double real(const std::string& name) const { return file.real_attribute("/", name); }
    std::size_t size(const std::string& name) const {
        return static_cast<std::size_t>(file.integer_attribute("/", name));
    }

    Hdf5File file;
    ModelConfig config;
    std::vector<std::int32_t> tokens;
    std::vector<std::size_t> windows;
    std::vector<double> losses, norms;
};

/// The masks of one step, by the places at which they act.
class GivenMasks : public MaskRows {
public:
    GivenMasks(const Golden& golden, std::size_t step) : golden_(golden), step_(step) {
        const ModelConfig& c = golden.config;
        add(0, "embedding", c.vocabulary, c.embedding_dropout);
        for (std::size_t b = 0; b < c.layers; ++b) {
            const std::uint32_t place = dropout_place_of_block(b);
            const bool last = b + 1 == c.layers;
            add(place, fmt::format("weight_{}", b), last ? c.embedding : c.hidden, c.weight_dropout);
            if (last)
                add(place + 1, "output", c.embedding, c.output_dropout);
            else
                add(place + 5, fmt::format("hidden_{}", b), c.hidden, c.hidden_dropout);  // what the next layer takes
            if (b == 0) add(place + 2, "input", c.embedding, c.input_dropout);
        }
    }
    void factors(Real* factors, const DropoutSite& site, std::uint32_t row, std::size_t first,
                 std::size_t n) const override {
        const Mask& mask = masks_.at(site.site);
        for (std::size_t j = 0; j < n && first + j < mask.width; ++j)
            factors[j] = static_cast<Real>(mask.kept[row * mask.width + first + j] / (1 - mask.probability));
    }

private:
    struct Mask {
        std::vector<double> kept;
        std::size_t width = 0;
        double probability = 0;
    };
    void add(std::uint32_t place, const std::string& name, std::size_t width, double probability) {
        if (probability == 0) return;
        const auto all = golden_.file.read<std::uint8_t>("mask/" + name);
        const std::size_t each = all.size() / golden_.windows.size();
        const auto begin = all.begin() + static_cast<std::ptrdiff_t>(step_ * each);
        masks_[place] = {{begin, begin + static_cast<std::ptrdiff_t>(each)}, width, probability};
    }
    const Golden& golden_;
    std::size_t step_;
    std::map<std::uint32_t, Mask> masks_;
};

/// This replica's streams, one a micro-batch.
std::vector<MicroBatch> batches_of(const Golden& golden, std::size_t step, const Topology& topology) {
    const std::size_t batch = golden.size("batch"), each = golden.tokens.size() / batch;
    const std::size_t first = std::accumulate(
        golden.windows.begin(), golden.windows.begin() + static_cast<std::ptrdiff_t>(step), std::size_t{});
    const Range rows =
        even_slice(batch, static_cast<std::size_t>(topology.extents.data), static_cast<std::size_t>(topology.at.data));
    std::vector<MicroBatch> batches;
    for (std::size_t row = rows.first; row < rows.last; ++row) {
        const std::int32_t* const window = golden.tokens.data() + row * each + first;
        MicroBatch& b = batches.emplace_back();
        b.sequences = 1;
        b.length = golden.windows[step];
        b.inputs.assign(window, window + b.length);
        b.targets.assign(window + 1, window + b.length + 1);
        b.first_sequence = static_cast<std::uint32_t>(row);
    }
    return batches;
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
    const std::size_t batch = golden.size("batch");
    CarriedStates states(stage.states(), batch);
    Optimizer optimizer(
        store, {golden.real("beta1"), golden.real("beta2"), golden.real("adam_eps"), golden.real("weight_decay")});
    const auto micro_batches = static_cast<int>(batch);
    stage.prepare({.length = golden.config.context,
                   .slots = slots_needed(layout.schedule, place, micro_batches, micro_batches),
                   .threads = threads,
                   .weights_later = has_weights_passes(layout.schedule, layout.pipeline)});
    Trainee trainee{stage, store, optimizer, topology, layout.schedule, threads};
    const GroupRates rates{std::vector<double>(golden.config.layers + 2, golden.real("lr")), 0};
    PassOptions options;
    options.states = &states;
    for (std::size_t step = 0; step < golden.windows.size(); ++step) {
        const GivenMasks masks(golden, step);
        options.masks = &masks;
        options.loss_scale = 1.0 / static_cast<double>(batch * golden.windows[step]);
        const StepResult result =
            train_step(trainee, batches_of(golden, step, topology), options, rates, golden.real("clip"), step + 1);
        EXPECT_NEAR(result.loss / golden.losses[step], 1, loss_tolerance) << "loss of step " << step + 1;
        EXPECT_NEAR(result.gradient_norm / golden.norms[step], 1, norm_tolerance) << "norm of step " << step + 1;
    }
    expect_final(golden.file, store, topology, [](const Parameter&, std::size_t) { return false; });
}

TEST(GoldenAwdLstmTest, MatchesPyTorch) {
    const int ranks = Communicator::world().size();
    for (const char* name : {"awd_lstm_plain.h5", "awd_lstm.h5"})
        for (const GoldenLayout& layout : golden_layouts(ranks)) {
            const std::filesystem::path path = golden_folder(ULMPI_SOURCE_DIR) / "systems" / name;
            run(path, layout, 1);
            if (ranks <= 2) run(path, layout, 2);
        }
}

}  // namespace
}  // namespace ulmpi
