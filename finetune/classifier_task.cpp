#include "finetune/classifier_task.hpp"

#include <algorithm>
#include <numeric>

#include "data/reading_order.hpp"
#include "pretrain/inference.hpp"

namespace ulmpi {

MicroBatch micro_batch_of(const LabelledSet& set, std::span<const std::uint32_t> records, std::size_t first,
                          Token padding) {
    MicroBatch batch;
    batch.sequences = records.size();
    batch.first_sequence = static_cast<std::uint32_t>(first);
    for (std::uint32_t record : records) batch.length = std::max(batch.length, set.tokens_of(record).size());
    batch.inputs.assign(batch.rows(), padding);
    for (std::size_t s = 0; s < records.size(); ++s) {
        const std::span<const Token> tokens = set.tokens_of(records[s]);
        std::copy(tokens.begin(), tokens.end(), batch.inputs.begin() + static_cast<std::ptrdiff_t>(s * batch.length));
        batch.lengths.push_back(static_cast<std::int32_t>(tokens.size()));
        batch.labels.push_back(set.labels[records[s]]);
        batch.samples.push_back(records[s]);
    }
    return batch;
}

// The records by length, so that a micro-batch pads little, dealt to the replicas in order.
std::optional<std::vector<float>> classify(RankModel& model, const LabelledSet& set, std::size_t classes,
                                           std::size_t micro_batch, Token padding, const LeaveOff& leave_off) {
    std::vector<std::uint32_t> order(set.size());
    std::iota(order.begin(), order.end(), 0u);
    const std::vector<std::uint32_t> lengths = set.lengths();
    std::stable_sort(order.begin(), order.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return lengths[a] < lengths[b]; });
    const Topology& topology = model.topology;
    const auto replicas = static_cast<std::size_t>(topology.extents.data);
    const Range mine = even_slice(order.size(), replicas, static_cast<std::size_t>(topology.at.data));
    const std::size_t most = even_slice(order.size(), replicas, 0).size();  // all are asked equally often
    const std::size_t per_pass = micro_batch * static_cast<std::size_t>(4 * topology.extents.pipeline);
    std::vector<float> probabilities(set.size() * classes, 0);
    for (std::size_t done = 0; done < most; done += per_pass) {
        if (leave_off && leave_off()) return std::nullopt;
        const std::size_t first = std::min(mine.last, mine.first + done), last = std::min(mine.last, first + per_pass);
        if (first == last) continue;
        std::vector<MicroBatch> batches;
        for (std::size_t begin = first; begin < last; begin += micro_batch) {
            const std::size_t count = std::min(micro_batch, last - begin);
            batches.push_back(micro_batch_of(set, std::span(order).subspan(begin, count), begin, padding));
        }
        const std::vector<float> scores = predict_scores(model, batches, classes);
        for (std::size_t i = first; i < last; ++i)
            std::copy_n(scores.data() + (i - first) * classes, classes, probabilities.data() + order[i] * classes);
    }
    topology.data.all_reduce_sum(std::span<float>(probabilities));
    return probabilities;
}

std::vector<float> balanced_class_weights(const LabelledSet& set) {
    std::vector<std::uint64_t> counts(set.classes.size(), 0);
    for (std::int32_t label : set.labels) ++counts[static_cast<std::size_t>(label)];
    std::vector<float> weights;
    for (std::uint64_t count : counts)
        weights.push_back(count ? static_cast<float>(static_cast<double>(set.size()) /
                                                     (static_cast<double>(counts.size()) * static_cast<double>(count)))
                                : 0.0f);
    return weights;
}

ClassifierTask::ClassifierTask(RankModel& model, const LabelledSet& train, const LabelledSet* valid,
                               const LabelledSet* test, const TrainingOptions& training,
                               const ClassifierOptions& options)
    : model_(model),
      train_(train),
      valid_(valid),
      test_(test),
      training_(training),
      options_(options),
      lengths_(train.lengths()),
      steps_per_epoch_(steps_of_epoch(train.size(), training.global_batch)),
      phases_(unfreezing_phases(options.epochs, static_cast<int>(model.stage.config().layers) + 1,
                                options.gradual_unfreezing)) {}

// One course of the rate spans a phase; below the head each group learns `factor` times slower than the one above.
GroupRates ClassifierTask::rates(std::uint64_t step) const {
    const auto epoch = static_cast<int>(step / steps_per_epoch_);
    const UnfreezingPhase& phase = *std::find_if(phases_.rbegin(), phases_.rend(),
                                                 [&](const UnfreezingPhase& p) { return p.first_epoch <= epoch; });
    RateConfig config;
    config.schedule = rate_schedule_from(training_.lr_schedule);
    config.peak = training_.lr;
    config.least = training_.min_lr;
    config.warm_up = training_.warmup_steps;
    config.steps = static_cast<std::uint64_t>(phase.epochs) * steps_per_epoch_;
    const double rate = learning_rate(config, step - static_cast<std::uint64_t>(phase.first_epoch) * steps_per_epoch_);
    const int last = static_cast<int>(model_.stage.config().layers) + 1;
    GroupRates rates{{}, phase.first_trained};
    for (int group = 0; group <= last; ++group)
        rates.rate.push_back(group_rate(rate, group, last, options_.discriminative_factor));
    return rates;
}

StepPlan ClassifierTask::plan(std::uint64_t step) const {
    if (const std::uint64_t epoch = step / steps_per_epoch_; epoch != epoch_) {
        batches_ = length_bucketed_batches(training_.seed, epoch, lengths_, training_.global_batch);
        epoch_ = epoch;
    }
    const std::vector<std::uint32_t>& records = batches_[step % steps_per_epoch_];
    StepPlan plan;
    plan.weight = 0;
    plan.sequences = records.size();
    for (std::uint32_t record : records) {
        const auto label = static_cast<std::size_t>(train_.labels[record]);
        plan.weight += options_.class_weights.empty() ? 1 : static_cast<double>(options_.class_weights[label]);
        plan.tokens += lengths_[record];
    }
    const Topology& topology = model_.topology;
    const Range mine = even_slice(records.size(), static_cast<std::size_t>(topology.extents.data),
                                  static_cast<std::size_t>(topology.at.data));
    for (std::size_t first = mine.first; first < mine.last; first += options_.micro_batch) {
        const std::size_t count = std::min(options_.micro_batch, mine.last - first);
        plan.batches.push_back(
            micro_batch_of(train_, std::span(records).subspan(first, count), first, options_.padding));
    }
    plan.rates = rates(step);
    return plan;
}

std::optional<ClassificationReport> ClassifierTask::report(const LabelledSet& set, const LeaveOff& leave_off) {
    const auto probabilities =
        classify(model_, set, train_.classes.size(), options_.micro_batch, options_.padding, leave_off);
    if (!probabilities) return std::nullopt;
    return classification_report(train_.classes, set.labels, *probabilities);
}

std::optional<std::vector<Record>> ClassifierTask::evaluate(bool last, const LeaveOff& leave_off) {
    std::vector<Record> records;
    if (valid_ != nullptr) {
        const auto judged = report(*valid_, leave_off);
        if (!judged) return std::nullopt;
        records.push_back(judged->record("valid", last));
    }
    if (test_ != nullptr && last) {
        test_report_ = report(*test_, leave_off);
        if (!test_report_) return std::nullopt;
        records.push_back(test_report_->record("test", true));
    }
    return records;
}

}  // namespace ulmpi
