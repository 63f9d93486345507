#pragma once
// A small model under a layout, with weights and moments that are functions of name and index alone.

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/random_key.hpp"
#include "checkpoints/checkpoint.hpp"
#include "checkpoints/checkpoint_writer.hpp"
#include "model/kernels/philox.hpp"
#include "model/stage.hpp"
#include "parallel/run_main.hpp"
#include "tests/base/temporary_folder.hpp"

namespace ulmpi {

/// What a checkpoint of it says besides.
inline const nlohmann::json sample_metadata{
    {"kind", "language-model"}, {"progress", {{"step", 3}, {"samples", 24}}}, {"note", "caf\u00e9"}};
inline const std::string sample_tokenizer = R"({"model": {"vocab": {"a": 0}}})";

inline ModelConfig sample_config(bool tied) {
    ModelConfig config;
    config.layers = 3;
    config.hidden = 12;
    config.heads = 4;
    config.context = 7;
    config.vocabulary = 37;  // no slicing divides it evenly
    config.tied = tied;
    return config;
}

/// A folder that every rank of the world sees, removed at the end. Collective.
class SharedFolder {
public:
    explicit SharedFolder(const Communicator& world) : world_(world) {
        if (world.rank() == 0) folder_.emplace();
        path_ = broadcast_text(folder_ ? folder_->path().string() : std::string(), world, 0);
    }
    SharedFolder(const SharedFolder&) = delete;
    SharedFolder& operator=(const SharedFolder&) = delete;
    ~SharedFolder() { world_.barrier(); }
    const std::filesystem::path& path() const { return path_; }
    std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

private:
    const Communicator& world_;
    std::optional<TemporaryFolder> folder_;
    std::filesystem::path path_;
};

inline StagePlace place_of(const Topology& topology) {
    return {topology.at.stage, topology.extents.pipeline, topology.at.slice, topology.extents.tensor};
}

struct SampleModel {
    SampleModel(const Topology& topology, const ModelConfig& config, const HeadConfig& head = std::nullopt)
        : stage(config, head, store, place_of(topology), topology.tensor) {
        store.allocate(false);
        first.assign(store.size(), 0);
        second.assign(store.size(), 0);
    }

    /// Every weight and moment becomes noise of its tensor's name and its index in the whole tensor.
    void fill(std::uint64_t seed = 1) {
        for_each([&](Parameter& p, std::span<float> out, std::uint64_t which) {
            std::vector<float> whole(p.global.size());
            normal_fill(whole.data(), random_key(seed + which, p.name), 0, whole.size(), 1.0F);
            take(p, whole, out);
        });
    }

    /// Elements that differ from what fill() makes.
    std::size_t differences(std::uint64_t seed = 1, bool with_moments = true) {
        std::size_t count = 0;
        for_each([&](Parameter& p, std::span<float> out, std::uint64_t which) {
            if (which > 0 && !with_moments) return;
            std::vector<float> whole(p.global.size()), expected(p.size());
            normal_fill(whole.data(), random_key(seed + which, p.name), 0, whole.size(), 1.0F);
            take(p, whole, expected);
            for (std::size_t i = 0; i < out.size(); ++i) count += out[i] == expected[i] ? 0U : 1U;
        });
        return count;
    }

    void clear() {
        std::ranges::fill(store.values(), 0.0F);
        std::ranges::fill(first, 0.0F);
        std::ranges::fill(second, 0.0F);
        std::ranges::fill(average, 0.0F);
    }
    Moments moments() { return {first, second, average}; }

    ParameterStore store;
    Stage stage;
    std::vector<float> first, second, average;  // the last is empty unless a test makes room for it

private:
    template <class Body>
    void for_each(Body body) {
        for (Parameter p : store.parameters()) {
            body(p, store.value_of(p), 0);
            body(p, std::span(first).subspan(p.offset, p.size()), 100);
            body(p, std::span(second).subspan(p.offset, p.size()), 200);
            if (!average.empty()) body(p, std::span(average).subspan(p.offset, p.size()), 300);
        }
    }
    /// The slice of a matrix or vector, element by element.
    static void take(const Parameter& p, const std::vector<float>& whole, std::span<float> out) {
        const std::size_t rows = p.global.extent[0], columns = whole.size() / rows;
        std::size_t next = 0;
        for (std::size_t row = 0; row < rows; ++row)
            for (std::size_t column = 0; column < columns; ++column) {
                const std::size_t along = p.slicing.axis == 0 ? row : column;
                bool mine = p.slicing.whole();
                for (Range range : p.slicing.ranges) mine = mine || range.contains(along);
                if (mine) out[next++] = whole[row * columns + column];
            }
    }
};

/// Saves what fill() made. In async mode the model goes on meanwhile: what it holds then must not be what is written.
inline std::optional<std::string> save_while_learning(CheckpointWriter& writer, SaveMode mode, SampleModel& model,
                                                      const std::filesystem::path& file, const nlohmann::json& metadata,
                                                      const std::string& tokenizer) {
    writer.begin({file, metadata, tokenizer});
    if (mode == SaveMode::async) model.clear();
    std::optional<SaveResult> result;
    while (!result) result = writer.look();
    if (mode == SaveMode::async) model.fill();
    return result->failure;
}

inline std::string name_of(SaveMode mode) { return mode == SaveMode::sync ? "Sync" : "Async"; }

/// All grids that fill `ranks` ranks, at most 3 stages (the sample has 3 blocks) and 4 slices (4 heads).
inline std::vector<Extents> grids_of(int ranks) {
    std::vector<Extents> grids;
    for (int pipeline = 1; pipeline <= 3; ++pipeline)
        for (int tensor : {1, 2, 4})
            if (ranks % (pipeline * tensor) == 0) grids.push_back({ranks / (pipeline * tensor), pipeline, tensor});
    return grids;
}

/// Runs `body(topology)` under every grid of 1, 2 and 4 ranks that fits into the world; ranks beyond wait.
template <class Body>
void under_every_grid(const Communicator& world, Body body) {
    for (int ranks : {1, 2, 4}) {
        if (ranks > world.size()) break;
        const Communicator part = world.split(world.rank() < ranks ? 0 : 1, world.rank());
        for (Extents grid : grids_of(ranks)) {
            if (world.rank() < ranks) {
                const Topology topology(part, grid);
                body(topology);
            }
            world.barrier();
        }
    }
}

}  // namespace ulmpi
