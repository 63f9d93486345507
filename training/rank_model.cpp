#include "training/rank_model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/memory_limit.hpp"
#include "base/progress.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

StagePlace place_in(const Topology& topology) {
    return {topology.at.stage, topology.extents.pipeline, topology.at.slice, topology.extents.tensor};
}

const ModelConfig& checked(const ModelConfig& config, const Extents& extents) {
    check_model(config);
    check_layout(config, extents.pipeline, extents.tensor);
    return config;
}

}  // namespace

RankModel::RankModel(const Communicator& world, const Layout& wanted, const ModelConfig& config, const HeadConfig& head,
                     const PassPlan& plan, const std::optional<AdamwConfig>& adamw,
                     const std::optional<SaveMode>& saves)
    : topology(world, wanted.extents, &timeline),
      layout(wanted),
      stage(checked(config, wanted.extents), head, store, place_in(topology), topology.tensor) {
    const bool training = adamw.has_value();
    check_usage(!training || !adamw->muon || config.key_heads() == config.heads,
                "--optimizer muon takes queries, keys and values of one size, and the model has --num-query-groups {}: "
                "train it with adamw",
                config.query_groups);
    // Below this nothing overflows when the estimate is added up.
    const double elements =
        static_cast<double>(plan.sequences) * static_cast<double>(plan.length) * static_cast<double>(config.layers) *
        static_cast<double>(std::max({config.hidden, config.width(), config.ffn_size(), config.vocabulary}));
    check_usage(elements < 1e15,
                "this run needs far more memory than there is: activations of {:.0e} elements; use a "
                "smaller --micro-batch-size, --seq-length or --num-layers",
                elements);
    const int most = std::max(plan.micro_batches, static_cast<int>(plan.chunks));
    const BatchPlan batches{
        .sequences = plan.sequences,
        .length = plan.length,
        .slots = training ? slots_needed(layout.schedule, stage.place(), most, plan.micro_batches) : 1,
        .threads = layout.threads,
        .training = training,
        .precision = layout.precision,
        .documents = plan.documents,
        .weights_later = training && has_weights_passes(layout.schedule, wanted.extents.pipeline)};
    const bool carries = plan.streams > 0 && config.recurrent();
    const ParameterStore carried =
        CarriedStates::planned(carries ? stage.states() : std::vector<StateShape>(), plan.streams);
    const std::size_t weights = store.size() * sizeof(Real);
    const bool averages = training && adamw->average > 0;
    const std::size_t rounded = layout.precision == Precision::bf16 ? store.size() * sizeof(BFloat16) : 0;
    memory = {weights + rounded,
              training ? weights : 0,
              training ? (averages ? 3 : 2) * weights + (adamw->muon ? Muon::room_for(store).bytes() : 0) : 0,
              stage.activation_bytes(batches).total(batches),
              2 * sizeof(Token) * plan.length *
                  std::max(plan.sequences * static_cast<std::size_t>(plan.micro_batches), plan.chunks),
              saves ? save_memory(plan_save(store, true, topology, averages, carries ? &carried : nullptr), *saves) : 0,
              plan.wide,
              2 * carried.size() * sizeof(Real)};

    // What the ranks of a node need together must fit what it has.
    const Communicator node = world.split_by_node();
    auto together_bytes = static_cast<double>(memory.total());
    node.all_reduce_sum(std::span<double>(&together_bytes, 1));
    together(world, [&] {
        const std::size_t limit = memory_limit();
        check_usage(together_bytes <= static_cast<double>(limit),
                    "this run needs {} on a node where it may use {} (per rank: weights {}, gradients {}, moments {}, "
                    "activations {}, tokens of a step {}, saving {}, wide features {}, states {}); use more nodes, a "
                    "larger --tensor-parallel-size or --pipeline-parallel-size, a smaller --micro-batch-size or "
                    "--global-batch-size{}",
                    format_bytes(static_cast<std::uint64_t>(std::min(together_bytes, 1e19))), format_bytes(limit),
                    format_bytes(memory.parameters), format_bytes(memory.gradients), format_bytes(memory.moments),
                    format_bytes(memory.activations), format_bytes(memory.tokens), format_bytes(memory.saving),
                    format_bytes(memory.wide), format_bytes(memory.states),
                    saves == SaveMode::async ? ", or --save-mode sync" : "");
    });
    store.allocate(training, layout.precision);
    if (carries) states.emplace(stage.states(), plan.streams);
    if (adamw) optimizer.emplace(store, *adamw, &topology.tensor);
    stage.prepare(batches);
}

void RankModel::share_states() {
    if (!states) return;
    states->share(even_slice(states->streams(), static_cast<std::size_t>(topology.extents.data),
                             static_cast<std::size_t>(topology.at.data)),
                  topology.data);
}

std::uint64_t RankModel::parameters() const {
    std::uint64_t count = store.counted_elements();
    topology.model.all_reduce_sum(std::span<std::uint64_t>(&count, 1));
    return count;
}

std::string RankModel::description() const {
    return fmt::format("{}, {} thread{} per rank, {} parameters ({} on this rank), about {} per rank",
                       to_string(layout.extents), layout.threads, layout.threads == 1 ? "" : "s",
                       format_count(static_cast<double>(parameters())),
                       format_count(static_cast<double>(store.counted_elements())), format_bytes(memory.total()));
}

}  // namespace ulmpi
