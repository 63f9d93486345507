#include "jobs/fit_stages.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <array>

#include "model/kernels/factor.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

using Words = std::vector<std::string>;

bool can_multiply_bf16(const Communicator& world) {
    int can = 1;
    try {
        check_precision(Precision::bf16);
    } catch (const UsageError&) {
        can = 0;
    }
    world.all_reduce_min(std::span<int>(&can, 1));
    return can == 1;
}

std::string text_of(double value) { return fmt::format("{}", value); }

}  // namespace

FitStages::FitStages(const FitOptions& options, const OptionTable& table, const Communicator& world)
    : options_(options),
      layout_(options.layout),
      threads_(layout_.threads > 0 ? layout_.threads : find_cores(world).threads) {
    if (!table.given("micro-batch-size")) layout_.micro_batch = ClassifierStageOptions().layout.micro_batch;
    if (layout_.precision == "auto") layout_.precision = can_multiply_bf16(world) ? "bf16" : "fp32";
    const nlohmann::json values = table.json();
    for (const char* name : {"tensor-parallel-size", "pipeline-parallel-size", "pipeline-schedule",
                             "overlap-grad-reduce", "micro-batch-size", "threads-per-rank"}) {
        if (!table.given(name)) continue;
        const nlohmann::json& value = values.at(name);
        layout_words_.push_back(std::string("--") + name);
        layout_words_.push_back(value.is_string()    ? value.get<std::string>()
                                : value.is_boolean() ? write_value(value.get<bool>())
                                                     : value.dump());
    }
    layout_words_.insert(layout_words_.end(), {"--precision", layout_.precision});
}

LanguageModelRequest FitStages::language_model(const TextPlan& plan, const std::filesystem::path& data,
                                               const std::filesystem::path& run, const std::string& walltime) const {
    Words words{"--init-from",
                options_.init_from,
                "--data",
                data.string(),
                "--run",
                run.string(),
                "--train-tokens",
                fmt::format("{}", plan.read),
                "--global-batch-size",
                fmt::format("{}", plan.batch),
                "--lr",
                text_of(recipe_.best.text_rate),
                "--seed",
                fmt::format("{}", options_.seed),
                "--walltime",
                walltime};
    words.insert(words.end(), layout_words_.begin(), layout_words_.end());
    LanguageModelRequest request(domain_training());
    request.table.parse(words);
    return request;
}

ClassifierRequest FitStages::classifier(const ClassifierPlan& plan, const std::string& init_from,
                                        const std::string& train, const std::filesystem::path& run,
                                        const std::string& walltime, std::uint64_t more_seed) const {
    Words words{"--init-from",
                init_from,
                "--train",
                train,
                "--run",
                run.string(),
                "--epochs",
                fmt::format("{}", plan.epochs),
                "--global-batch-size",
                fmt::format("{}", plan.batch),
                "--lr",
                text_of(recipe_.best.rate),
                "--discriminative-factor",
                text_of(recipe_.best.factor),
                "--gradual-unfreezing",
                "off",
                "--dropout",
                text_of(recipe_.best.dropout),
                "--seed",
                fmt::format("{}", options_.seed + more_seed),
                "--walltime",
                walltime};
    words.insert(words.end(), layout_words_.begin(), layout_words_.end());
    ClassifierRequest request;
    request.table.parse(words);
    return request;
}

}  // namespace ulmpi
