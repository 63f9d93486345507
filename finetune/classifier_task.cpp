#include "finetune/classifier_task.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "data/chunks.hpp"
#include "data/reading_order.hpp"
#include "training/inference.hpp"

namespace ulmpi {

namespace {

/// Micro-batches of a pass of predictions: some, so that a pipeline fills.
std::size_t batches_per_pass(int pipeline) { return static_cast<std::size_t>(4 * pipeline); }

/// Which of the records go through together: no more chunks than `most`, or one document alone.
std::vector<Range> passes_of(const LabelledSet& set, std::span<const std::uint32_t> records, std::size_t context,
                             std::size_t most) {
    std::vector<Range> passes;
    std::size_t chunks = 0;
    for (std::size_t i = 0; i < records.size(); ++i) {
        const std::size_t more = chunk_count(set.tokens_of(records[i]).size(), context);
        if (passes.empty() || chunks + more > most) {
            passes.push_back({i, i});
            chunks = 0;
        }
        passes.back().last = i + 1;
        chunks += more;
    }
    return passes;
}

/// Dealt to the replicas one by one, so that each gets as many long ones.
std::vector<std::uint32_t> records_of_replica(std::span<const std::uint32_t> order, std::size_t replicas,
                                              std::size_t replica) {
    std::vector<std::uint32_t> records;
    for (std::size_t i = replica; i < order.size(); i += replicas) records.push_back(order[i]);
    return records;
}

}  // namespace

PassPlan prediction_plan(std::size_t micro_batch, std::size_t length, int pipeline) {
    return {.sequences = micro_batch, .length = length, .documents = batches_per_pass(pipeline)};
}

PassPlan training_plan(std::span<const std::uint32_t> longest, std::size_t replica_rows, const Reading& reading,
                       std::size_t length, int pipeline) {
    PassPlan plan = prediction_plan(reading.micro_batch, length, pipeline);
    plan.micro_batches = static_cast<int>((replica_rows + reading.micro_batch - 1) / reading.micro_batch);
    std::vector<std::size_t> chunks;  // of the replica's documents, were they the longest of all
    for (std::size_t row = 0; row < replica_rows; ++row)
        chunks.push_back(chunk_count(longest[std::min(row, longest.size() - 1)], reading.context));
    if (chunks.front() == 1) return plan;
    plan.chunks = std::accumulate(chunks.begin(), chunks.end(), std::size_t{0});
    const auto partial = std::ranges::count_if(chunks, [&](std::size_t n) { return n > reading.micro_batch; });
    plan.documents = std::max(plan.documents, static_cast<std::size_t>(partial));
    return plan;
}

// The records by length, so that a micro-batch pads little.
std::optional<std::vector<float>> classify(RankModel& model, const LabelledSet& set, std::span<const float> offsets,
                                           std::size_t classes, std::size_t micro_batch, Token padding,
                                           const LeaveOff& leave_off) {
    std::vector<std::uint32_t> order(set.size());
    std::iota(order.begin(), order.end(), 0u);
    const std::vector<std::uint32_t> lengths = set.lengths();
    std::ranges::stable_sort(order, {}, [&](std::uint32_t record) { return lengths[record]; });
    const Topology& topology = model.topology;
    const Reading reading{model.stage.config().context, micro_batch, padding, offsets};
    const std::size_t per_pass = micro_batch * batches_per_pass(topology.extents.pipeline);
    std::vector<std::uint32_t> mine;
    std::vector<Range> passes;
    std::size_t most = 0;  // all are asked equally often
    for (int replica = topology.extents.data; replica-- > 0;) {
        const std::vector<std::uint32_t> records = records_of_replica(
            order, static_cast<std::size_t>(topology.extents.data), static_cast<std::size_t>(replica));
        const std::vector<Range> its = passes_of(set, records, reading.context, per_pass);
        most = std::max(most, its.size());
        if (replica == topology.at.data) mine = records, passes = its;
    }
    std::vector<float> probabilities(set.size() * classes, 0);
    for (std::size_t pass = 0; pass < most; ++pass) {
        if (leave_off && leave_off()) return std::nullopt;
        if (pass >= passes.size()) continue;
        const std::span<const std::uint32_t> records = std::span(mine).subspan(passes[pass].first, passes[pass].size());
        const std::vector<float> scores = predict_scores(model, document_batches(set, records, {}, reading), classes);
        for (std::size_t i = 0; i < records.size(); ++i)
            std::copy_n(scores.data() + i * classes, classes, probabilities.data() + records[i] * classes);
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
    const std::size_t context = model_.stage.config().context;
    const DocumentPlace first{mine.first, count_chunks(train_, std::span(records).first(mine.first), context)};
    plan.batches =
        document_batches(train_, std::span(records).subspan(mine.first, mine.size()), first,
                         {context, options_.micro_batch, options_.padding, options_.wide.train, options_.soft_labels});
    plan.rates = rates(step);
    return plan;
}

std::optional<ClassificationReport> ClassifierTask::report(const LabelledSet& set, std::span<const float> offsets,
                                                           const LeaveOff& leave_off) {
    const auto probabilities =
        classify(model_, set, offsets, train_.classes.size(), options_.micro_batch, options_.padding, leave_off);
    if (!probabilities) return std::nullopt;
    return classification_report(train_.classes, set.labels, *probabilities);
}

std::optional<std::vector<Record>> ClassifierTask::evaluate(bool last, const LeaveOff& leave_off) {
    std::vector<Record> records;
    if (valid_ != nullptr) {
        const auto judged = report(*valid_, options_.wide.valid, leave_off);
        if (!judged) return std::nullopt;
        records.push_back(judged->record("valid", last));
    }
    if (test_ != nullptr && last) {
        test_report_ = report(*test_, options_.wide.test, leave_off);
        if (!test_report_) return std::nullopt;
        records.push_back(test_report_->record("test", true));
    }
    return records;
}

}  // namespace ulmpi
