#include "training/layout.hpp"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "model/kernels/blas_choice.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {

void add_layout_options(OptionTable& table, LayoutOptions& o) {
    table.group("Layout of the ranks (data-parallel replicas = ranks / (tensor x pipeline))");
    table.add("tensor-parallel-size", o.tensor_parallel, "slices that each layer is split into", "ranks");
    table.alias("tp", "tensor-parallel-size");
    table.range("tensor-parallel-size", 1, 4096);
    table.add("pipeline-parallel-size", o.pipeline_parallel, "stages that the layers are dealt to", "ranks");
    table.alias("pp", "pipeline-parallel-size");
    table.range("pipeline-parallel-size", 1, 4096);
    table.add(
        "pipeline-schedule", o.schedule,
        "order of forward and backward passes in a stage; zb-h1: as 1f1b, with gradients of linear layers' weights "
        "when it would wait, for more memory");
    table.choices("pipeline-schedule", {"gpipe", "1f1b", "zb-h1"});
    table.add(
        "overlap-grad-reduce", o.overlap,
        "replicas begin to add up gradients while backward still runs: pays where MPI has a thread or a network card "
        "for it");
    table.add("micro-batch-size", o.micro_batch,
              "sequences that may go through the model together: memory grows with it", "sequences");
    table.range("micro-batch-size", 1, 1 << 20);
    table.add("threads-per-rank", o.threads, "0: the cores that the rank may use, divided by the ranks that share them",
              "threads");
    table.range("threads-per-rank", 0, 1024);
    table.add("precision", o.precision,
              "of the factors of matrix products; sums, weights, moments, norms and losses are fp32 either way");
    table.choices("precision", {"fp32", "bf16"});
}

Layout resolve_layout(const LayoutOptions& o, int ranks, int threads) {
    check_usage(
        !o.overlap || !has_weights_passes(pipeline_schedule_from(o.schedule), o.pipeline_parallel),
        "--overlap-grad-reduce on has nothing to overlap with --pipeline-schedule zb-h1, whose gradients are whole at "
        "the end of a step; leave one of them");
    return {extents_for(ranks, o.pipeline_parallel, o.tensor_parallel), pipeline_schedule_from(o.schedule),
            o.threads > 0 ? o.threads : threads, o.precision == "bf16" ? Precision::bf16 : Precision::fp32, o.overlap};
}

Layout layout_from(const LayoutOptions& o, const Communicator& world) {
    Layout layout = together(world, [&] {
        const Layout fitting = resolve_layout(o, world.size(), 1);
        check_precision(fitting.precision);
        return fitting;
    });
    layout.threads = threads_per_rank(o.threads, world);
    return layout;
}

std::size_t fitted_micro_batch(std::size_t asked, std::size_t length, int threads) {
    constexpr std::size_t tokens_of_a_thread = 512;
    const std::size_t each = std::max<std::size_t>(1, tokens_of_a_thread / length);
    return std::min(asked, each * static_cast<std::size_t>(threads));
}

// --cpus-per-task of the job that this is; 0: none.
static std::int32_t slurm_cpus_per_task() {
    const char* text = std::getenv("SLURM_CPUS_PER_TASK");
    std::int32_t cpus = 0;
    return text != nullptr && read_value(text, cpus).empty() ? std::max(cpus, 0) : 0;
}

Cores find_cores(const Communicator& world) {
    cpu_set_t mask;
    check(sched_getaffinity(0, sizeof mask, &mask) == 0, "the cores of this rank cannot be told (sched_getaffinity)");
    // Of each core of the node, how many of its ranks may use it.
    const Communicator node = world.split_by_node();
    std::vector<std::int32_t> users(CPU_SETSIZE, 0);
    for (std::size_t core = 0; core < users.size(); ++core) users[core] = CPU_ISSET(core, &mask) ? 1 : 0;
    node.all_reduce_sum(std::span<std::int32_t>(users));
    double share = 0;
    for (std::size_t core = 0; core < users.size(); ++core)
        if (CPU_ISSET(core, &mask)) share += 1.0 / users[core];
    // A Slurm job may see more cores than are its own.
    const std::int32_t of_task = broadcast_value(slurm_cpus_per_task(), world, 0);
    if (of_task > 0) share = std::min(share, static_cast<double>(of_task));
    std::int32_t threads = std::max(1, static_cast<int>(share + 1e-9));
    world.all_reduce_min(std::span<std::int32_t>(&threads, 1));
    const auto of_node = std::count_if(users.begin(), users.end(), [](std::int32_t n) { return n > 0; });
    return {threads, CPU_COUNT(&mask), static_cast<int>(of_node), of_task > 0};
}

void say_how_threads_fit(const Cores& cores, int threads, const Communicator& world) {
    const Communicator node = world.split_by_node();
    std::int32_t threads_of_node = threads;
    node.all_reduce_sum(std::span<std::int32_t>(&threads_of_node, 1));
    std::array<int, 2> crowded{threads > cores.here ? 1 : 0, threads_of_node > cores.of_node ? 1 : 0};  // anywhere
    world.all_reduce_max(std::span<int>(crowded));
    if (world.rank() != 0) return;
    if (const std::string note = slow_blas_note(); !note.empty()) fmt::print(stderr, "note: {}\n", note);
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    if (crowded[0])
        fmt::print(stderr,
                   "note: {} threads share the {} core(s) that rank 0 is bound to; mpirun --bind-to none (or --map-by "
                   "slot:PE={}) gives it more\n",
                   threads, cores.here, threads);
    else if (crowded[1])
        fmt::print(stderr,
                   "note: {} threads run on the {} cores of this node; fewer ranks or --threads-per-rank 1 go faster\n",
                   threads_of_node, cores.of_node);
    else if (threads == cores.threads && !cores.told && cores.of_node < online)
        fmt::print(stderr,
                   "note: the ranks of this node are bound to {} of its {} cores; mpirun --bind-to none lets them use "
                   "all\n",
                   cores.of_node, online);
}

int threads_per_rank(int asked, const Communicator& world) {
    const Cores cores = find_cores(world);
    const int threads = asked > 0 ? asked : cores.threads;
    say_how_threads_fit(cores, threads, world);
    return threads;
}

}  // namespace ulmpi
