#include "training/step_timing.hpp"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "base/random_key.hpp"
#include "base/slice.hpp"

namespace ulmpi {
namespace {

MicroBatch random_batch(std::uint64_t step, std::size_t first_row, std::size_t rows, const ModelConfig& config) {
    MicroBatch batch;
    batch.sequences = rows;
    batch.length = config.context;
    batch.first_sequence = static_cast<std::uint32_t>(first_row);
    for (std::size_t row = first_row; row < first_row + rows; ++row)
        for (std::size_t t = 0; t <= config.context; ++t) {
            const auto token = static_cast<Token>(random_key(random_key(step, row), t) % config.vocabulary);
            if (t < config.context) batch.inputs.push_back(token);
            if (t > 0) batch.targets.push_back(token);
        }
    return batch;
}

}  // namespace

double StepTimes::total() const { return std::accumulate(seconds.begin(), seconds.end(), 0.0); }

double StepTimes::median() const {
    std::vector<double> sorted = seconds;
    std::ranges::sort(sorted);
    return sorted[sorted.size() / 2];
}

StepTimes time_steps(RankModel& model, const std::function<StepPlan(std::uint64_t)>& plan, std::uint64_t first,
                     const std::function<bool(const StepTimes&)>& enough) {
    const Communicator& all = model.topology.all;
    StepTimes times;
    Trainee trainee = model.trainee();
    for (std::uint64_t step = first;; ++step) {
        model.timeline.enter(Phase::load);
        const StepPlan update = plan(step);
        model.timeline.leave();
        PassOptions options;
        options.random_key = random_key(0, step);
        options.loss_scale = 1 / update.weight;
        options.global_sequences = update.sequences;
        options.first_trained_group = update.rates.first_trained;
        all.barrier();
        const auto begin = std::chrono::steady_clock::now();
        times.last = train_step(trainee, update.batches, options, update.rates, 1, step + 1);
        times.seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
        times.tokens += update.tokens;
        if (broadcast_value(enough(times), all, 0)) return times;
    }
}

StepPlan random_text(const RankModel& model, std::uint64_t step, std::size_t rows, std::size_t micro_batch) {
    const ModelConfig& config = model.stage.config();
    const Topology& topology = model.topology;
    const Range mine =
        even_slice(rows, static_cast<std::size_t>(topology.extents.data), static_cast<std::size_t>(topology.at.data));
    StepPlan plan;
    for (std::size_t row = mine.first; row < mine.last; row += micro_batch)
        plan.batches.push_back(random_batch(step, row, std::min(micro_batch, mine.last - row), config));
    plan.tokens = rows * config.context;
    plan.weight = static_cast<double>(plan.tokens);
    plan.sequences = rows;
    plan.rates = {std::vector<double>(config.layers + 2, 3e-4), 0};
    return plan;
}

}  // namespace ulmpi
