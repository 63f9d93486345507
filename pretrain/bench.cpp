#include "pretrain/bench.hpp"

#include <fmt/format.h>
#include <sys/resource.h>
#include <nlohmann/json.hpp>

#include <array>

#include "model/kernels/gemm.hpp"
#include "model/kernels/instruction_peak.hpp"
#include "parallel/run_main.hpp"
#include "training/metrics.hpp"
#include "training/profile.hpp"
#include "training/rank_model.hpp"
#include "training/step_timing.hpp"
#include "training/training_options.hpp"

namespace ulmpi {
namespace {

/// The largest resident set that this process has had, in MB of 2^20 bytes.
double peak_megabytes() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_maxrss) / 1024;
}

/// What the command can be told.
struct BenchOptions {
    ShapeOptions shape;
    LayoutOptions layout;
    std::size_t vocabulary = 8192, accumulate = 1;
    int steps = 8;
    std::string profile;

    void declare(OptionTable& table) {
        table.example(
            "--num-layers 6 --hidden-size 512 --num-attention-heads 8 --seq-length 256 --micro-batch-size 8 "
            "--vocab-size 8192");
        table.group("Bench");
        table.add("vocab-size", vocabulary, "token ids");
        table.range("vocab-size", 1, 1 << 28);
        table.add("steps", steps, "updates timed, after two that are not");
        table.range("steps", 1, 100000);
        table.add("micro-batches", accumulate, "micro-batches per update and replica");
        table.range("micro-batches", 1, 100000);
        add_profile_option(table, profile);
        add_shape_options(table, shape);
        add_layout_options(table, layout);
    }
};

}  // namespace

int bench_step_command(std::span<const std::string> arguments, const Communicator& world) {
    BenchOptions asked;
    const TrainingOptions training;
    OptionTable table("bench step", "Times one training step of a shape on random tokens.");
    asked.declare(table);
    if (!together(world, [&] { return table.parse(arguments); })) return 0;

    ModelConfig config = together(world, [&] {
        if (world.rank() == 0) check_profile(asked.profile);
        ModelConfig resolved = asked.shape.resolved();
        resolved.vocabulary = asked.vocabulary;
        check_shape_options(table, resolved.architecture);
        check_model(resolved);
        return resolved;
    });
    const Layout layout = layout_from(asked.layout, world);
    together(world, [&] { check_layout(config, layout.extents.pipeline, layout.extents.tensor); });
    const std::size_t rows = asked.layout.micro_batch * asked.accumulate;  // of a replica
    const std::size_t micro_batch = fitted_micro_batch(asked.layout.micro_batch, config.context, layout.threads);
    const auto micro_batches = static_cast<int>((rows + micro_batch - 1) / micro_batch);
    RankModel model(world, layout, config, {}, {micro_batch, config.context, micro_batches}, training.adamw);
    model.store.initialize(training.seed);
    const std::uint64_t parameters = model.parameters();

    const std::size_t global_rows = rows * static_cast<std::size_t>(layout.extents.data);
    const auto tokens = static_cast<double>(global_rows * config.context);
    const auto plan = [&](std::uint64_t step) { return random_text(model, step, global_rows, micro_batch); };
    time_steps(model, plan, 0, [](const StepTimes& times) { return times.seconds.size() == 2; });
    begin_profile(model, asked.profile);
    const StepTimes times = time_steps(model, plan, 2, [&](const StepTimes& so_far) {
        return so_far.seconds.size() == static_cast<std::size_t>(asked.steps);
    });
    double step_seconds = times.median(), peak = peak_megabytes();
    world.all_reduce_max(std::span<double>(&step_seconds, 1));
    world.all_reduce_max(std::span<double>(&peak, 1));
    const double gflops = training_flops(config, parameters) * tokens / step_seconds / 1e9;
    const std::string phases = end_profile(model, asked.profile, 0);
    const double gemm_peak = measure_gemm_peak(model, 0.5), instruction_peak = measure_instruction_peak(model, 0.3);
    Record record;
    record["tokens_per_s"] = number(tokens / step_seconds);
    record["ms_per_step"] = number(1e3 * step_seconds);
    record["gflops"] = number(gflops);
    record["gemm_peak_share"] = number(gflops / gemm_peak);
    if (instruction_peak > 0) record["instruction_peak_share"] = number(gflops / instruction_peak);
    record["params"] = parameters;
    record["peak_mb"] = number(peak);
    record["loss"] = number(times.last.loss);
    record["blas"] = blas_kernels();
    record["threads"] = layout.threads;
    record["ranks"] = world.size();
    record["layout"] = to_string(layout.extents);
    if (world.rank() != 0) return 0;
    fmt::print(stderr, "{}", phases);
    print_json(record);
    return 0;
}

int bench_gemm_command(std::span<const std::string> arguments, const Communicator& world) {
    int threads = 0;
    double seconds = 3;
    OptionTable table(
        "bench gemm",
        "Measures products of 2048 x 2048 matrices, the peak that a training step is held against, and "
        "what the CPU's vector multiply-adds could do: of floats, and of bf16 where it has them (but no AMX).");
    table.group("Bench");
    table.add("threads-per-rank", threads, "0: the cores that the rank may use");
    table.range("threads-per-rank", 0, 1024);
    table.add("seconds", seconds, "how long to measure", "s");
    table.range("seconds", 0.1, 600);
    if (!together(world, [&] { return table.parse(arguments); })) return 0;
    threads = threads_per_rank(threads, world);
    std::array<double, 3> peaks{measure_gemm_peak(threads, 0.6 * seconds),
                                measure_instruction_peak(Precision::fp32, threads, 0.2 * seconds),
                                measure_instruction_peak(Precision::bf16, threads, 0.2 * seconds)};
    world.all_reduce_sum(std::span<double>(peaks));
    Record record;
    record["gflops"] = number(peaks[0]);
    record["instruction_peak_gflops"] = number(peaks[1]);
    if (peaks[2] > 0) record["instruction_peak_gflops_bf16"] = number(peaks[2]);
    record["blas"] = blas_kernels();
    record["threads"] = threads;
    record["ranks"] = world.size();
    if (world.rank() == 0) print_json(record);
    return 0;
}

}  // namespace ulmpi
