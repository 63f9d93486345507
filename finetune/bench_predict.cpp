#include "finetune/bench_predict.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>

#include "base/files/line_reader.hpp"
#include "finetune/judge.hpp"
#include "model/kernels/gemm.hpp"
#include "parallel/run_main.hpp"
#include "training/metrics.hpp"
#include "training/profile.hpp"

namespace ulmpi {
namespace {

using Clock = std::chrono::steady_clock;

double median_of(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::ranges::nth_element(values, middle);
    return *middle;
}

/// Each a function of the texts alone, whatever chunks and pads the program reads besides.
double forward_flops_of(const ModelConfig& model, std::uint64_t parameters, const LabelledSet& texts) {
    double flops = 0;
    for (std::uint32_t length : texts.lengths()) flops += forward_flops(model, parameters, length);
    return flops;
}

}  // namespace

int bench_predict_command(std::span<const std::string> arguments, const Communicator& world) {
    std::string model_path, input;
    LayoutOptions layout;
    layout.micro_batch = 16;
    int repeats = 5;
    OptionTable table("bench predict",
                      "Times the labelling of texts with a classifier: texts a second, and the share of this machine's "
                      "peak in matrix products of floats. Reading and encoding the texts are not timed.");
    table.example("--model runs/classifier --input questions.txt --precision bf16");
    table.group("Bench");
    table.add("model", model_path, "run or checkpoint of a classifier", "RUN");
    table.required("model");
    table.add("input", input, "texts, one a line", "FILE");
    table.required("input");
    table.add("steps", repeats, "times that all texts are labelled, after one that is not timed");
    table.range("steps", 1, 100000);
    add_layout_options(table, layout);
    if (!together(world, [&] { return table.parse(arguments); })) return 0;

    const StoredModel stored = open_model(model_path, world);
    const StoredClassifier classifier = together(world, [&] { return classifier_from(stored); });
    LabelledSet texts = together(world, [&] {
        if (world.rank() != 0) return LabelledSet();
        return unlabelled_set(lines_of(input), stored.tokenizer,
                              {.max_length = classifier.max_length, .keep_texts = classifier.reads_words()});
    });
    broadcast(texts, world);
    Judge judge(stored, classifier, layout, texts.size(), world);
    std::vector<double> seconds;
    for (int pass = 0; pass <= repeats; ++pass) {
        world.barrier();
        const Clock::time_point begin = Clock::now();
        judge.ask(texts);
        world.barrier();
        if (pass > 0) seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
    }
    const std::uint64_t parameters = judge.model().parameters();
    const auto members = static_cast<double>(classifier.members.value_or(1));
    const double once = broadcast_value(median_of(seconds), world, 0), peak = measure_gemm_peak(judge.model(), 0.5);
    const double gflops = members * forward_flops_of(stored.config, parameters, texts) / once * 1e-9;
    Record record;
    record["texts_per_s"] = number(static_cast<double>(texts.size()) / once);
    record["tokens_per_s"] = number(static_cast<double>(texts.tokens.size()) / once);
    record["gflops"] = number(gflops);
    record["gemm_peak_share"] = number(gflops / peak);
    record["texts"] = texts.size();
    record["tokens"] = texts.tokens.size();
    record["members"] = classifier.members.value_or(1);
    record["params"] = parameters;
    record["blas"] = blas_kernels();
    record["threads"] = judge.model().layout.threads;
    record["ranks"] = world.size();
    record["layout"] = to_string(judge.model().layout.extents);
    if (world.rank() == 0) print_json(record);
    return 0;
}

}  // namespace ulmpi
