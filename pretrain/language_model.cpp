#include "pretrain/language_model.hpp"

#include <nlohmann/json.hpp>

#include <cmath>
#include <numeric>

#include "base/progress.hpp"
#include "parallel/run_main.hpp"
#include "pretrain/vocabulary_transfer.hpp"
#include "training/gather.hpp"
#include "training/resuming.hpp"

namespace ulmpi {

ReadingOrder reading_order(const ModelConfig& model) {
    return model.recurrent() ? ReadingOrder::streams : ReadingOrder::shuffled;
}

namespace {

/// Which windows of a set a replica scores in which pass; all replicas make equally many passes.
struct ScoringPass {
    std::vector<std::uint64_t> windows;
    std::uint64_t first_sequence = 0;
};

// A pass holds a few micro-batches, so that a pipeline is kept busy and memory stays small.
ScoringPass windows_in_a_row(std::uint64_t windows, std::size_t pass, std::size_t per_pass, const Topology& topology) {
    const Range mine = even_slice(windows, static_cast<std::size_t>(topology.extents.data),
                                  static_cast<std::size_t>(topology.at.data));
    const std::size_t first = std::min(mine.last, mine.first + pass * per_pass);
    ScoringPass result{std::vector<std::uint64_t>(std::min(mine.last, first + per_pass) - first), first};
    std::iota(result.windows.begin(), result.windows.end(), first);
    return result;
}

// The larger streams come first: in the last pass a replica has the first few of its own.
ScoringPass windows_of_streams(std::uint64_t windows, std::size_t pass, std::size_t streams, const Topology& topology) {
    const Range mine = even_slice(streams, static_cast<std::size_t>(topology.extents.data),
                                  static_cast<std::size_t>(topology.at.data));
    ScoringPass result{{}, mine.first};
    for (std::size_t stream = mine.first; stream < mine.last; ++stream)
        if (const Range its = even_slice(windows, streams, stream); pass < its.size())
            result.windows.push_back(its.first + pass);
    return result;
}

}  // namespace

std::optional<Score> score_dataset(RankModel& model, const TokenDataset& dataset, std::size_t stride,
                                   std::size_t micro_batch, bool show_progress, const LeaveOff& leave_off) {
    const ModelConfig& config = model.stage.config();
    const ScoringWindows windows(dataset, config.context, stride);
    const Topology& topology = model.topology;
    check(!config.recurrent() || stride == config.context, "windows of a stream do not overlap");
    const auto replicas = static_cast<std::size_t>(topology.extents.data);
    const std::size_t streams = std::min<std::uint64_t>(scoring_streams, windows.count());
    const std::size_t per_pass =
        config.recurrent() ? streams : micro_batch * static_cast<std::size_t>(4 * topology.extents.pipeline);
    // As many as the replica makes that has the most to score.
    const std::size_t most = even_slice(windows.count(), config.recurrent() ? streams : replicas, 0).size();
    const std::size_t passes = config.recurrent() ? most : (most + per_pass - 1) / per_pass;
    const std::uint64_t share = even_slice(windows.count(), replicas, 0).size();  // about, of streams
    std::optional<CarriedStates> states;
    if (config.recurrent()) states.emplace(model.stage.states(), streams);
    PassOptions options;
    options.training = false;
    options.states = states ? &*states : nullptr;
    double loss = 0;
    ProgressLine bar("evaluating", "windows", share, show_progress && topology.all.rank() == 0);
    std::uint64_t done = 0;
    for (std::size_t pass = 0; pass < passes; ++pass) {
        if (leave_off && leave_off()) return std::nullopt;
        const ScoringPass its = config.recurrent() ? windows_of_streams(windows.count(), pass, streams, topology)
                                                   : windows_in_a_row(windows.count(), pass, per_pass, topology);
        if (its.windows.empty()) continue;
        std::vector<MicroBatch> batches;
        for (std::size_t begin = 0; begin < its.windows.size(); begin += micro_batch)
            batches.push_back(
                windows.batch(std::span(its.windows).subspan(begin, std::min(micro_batch, its.windows.size() - begin)),
                              its.first_sequence + begin));
        loss += evaluate_pass(model.stage, topology, model.layout.threads, batches, options);
        if (states) states->advance();
        bar.update(std::min(done += its.windows.size(), share));
    }
    topology.data.all_reduce_sum(std::span<double>(&loss, 1));
    return Score{loss, dataset.token_count(), dataset.words(), dataset.bytes()};
}

Record score_record(const std::string& kind, const Score& score) {
    Record record;
    record["kind"] = kind;
    record["loss"] = number(score.loss / static_cast<double>(score.tokens));
    record["perplexity"] = number(std::exp(score.loss / static_cast<double>(score.tokens)));
    if (score.words > 0) record["word_perplexity"] = number(std::exp(score.loss / static_cast<double>(score.words)));
    if (score.bytes > 0) {
        record["byte_perplexity"] = number(std::exp(score.loss / static_cast<double>(score.bytes)));
        record["bits_per_byte"] = number(score.loss / static_cast<double>(score.bytes) / std::log(2.0));
    }
    record["tokens"] = score.tokens;
    record["words"] = score.words;
    return record;
}

TokenDataset open_dataset(const std::string& path, const Communicator& world) {
    return together(world,
                    [&] { return TokenDataset(path, world.rank() == 0 ? SealCheck::every_byte : SealCheck::length); });
}

std::vector<double> language_model_rates(double rate, std::size_t layers, double factor) {
    std::vector<double> rates(layers + 2, rate);
    for (std::size_t group = 0; group <= layers; ++group)
        rates[group] = group_rate(rate, static_cast<int>(group), static_cast<int>(layers), factor);
    return rates;
}

LanguageModelTask::LanguageModelTask(RankModel& model, const TokenDataset& train, const TokenDataset* valid,
                                     const LanguageModelSpec& spec)
    : model_(model),
      valid_(valid),
      batches_(train, spec.training.seed, spec.model.context, spec.training.global_batch, spec.pass.sequences,
               reading_order(spec.model)),
      global_batch_(spec.training.global_batch),
      micro_batch_(spec.pass.sequences),
      factor_(spec.factor),
      flops_per_token_(training_flops(spec.model, model.parameters())),
      regularized_(spec.model.activation_reg > 0 || spec.model.temporal_reg > 0) {
    rate_.schedule = rate_schedule_from(spec.training.lr_schedule);
    rate_.peak = spec.training.lr;
    rate_.least = spec.training.min_lr;
    rate_.steps = spec.steps;
    rate_.warm_up = spec.training.warmup_steps;
}

StepPlan LanguageModelTask::plan(std::uint64_t step) const {
    const std::uint64_t tokens = global_batch_ * model_.stage.config().context;
    return {batches_.of_step(step, model_.topology.at.data, model_.topology.extents.data),
            static_cast<double>(tokens),
            tokens,
            global_batch_,
            {language_model_rates(learning_rate(rate_, step), model_.stage.config().layers, factor_), 0}};
}

std::optional<std::vector<Record>> LanguageModelTask::evaluate(bool last, const LeaveOff& leave_off) {
    if (valid_ == nullptr) return std::vector<Record>{};
    const auto score = score_dataset(model_, *valid_, model_.stage.config().context, micro_batch_, last, leave_off);
    if (!score) return std::nullopt;
    return std::vector<Record>{score_record("valid", *score)};
}

namespace {

struct Shards {
    TokenDataset train;
    std::optional<TokenDataset> valid;
};

Shards open_shards(const LanguageModelSpec& spec, SealCheck check) {
    Shards shards{TokenDataset(spec.data, check), std::nullopt};
    if (!spec.valid.empty()) shards.valid.emplace(spec.valid, check);
    return shards;
}

}  // namespace

int train_language_model(const LanguageModelStage& stage, std::span<const std::string> arguments,
                         const Communicator& world) {
    LanguageModelRequest asked(stage);
    const StopSignals signals;
    if (!together(world, [&] { return asked.table.parse(arguments); })) return 0;
    return train_language_model(asked, signals, world);
}

int train_language_model(const LanguageModelRequest& asked, const StopSignals& signals, const Communicator& world) {
    agree_on(world, "options", asked.table.ini());
    Gathered gathered = gather(asked.options, world, [&](Gathered& so_far) { read_inputs(asked, so_far.facts); });
    const auto [spec, shards] = together(world, [&] {
        const LanguageModelSpec resolved = resolve(asked, gathered.facts);
        check_precision(resolved.layout.precision);
        return std::pair(resolved,
                         open_shards(resolved, world.rank() == 0 ? SealCheck::every_byte : SealCheck::length));
    });
    say_how_threads_fit(gathered.cores, spec.layout.threads, world);
    RankModel model(world, spec.layout, spec.model, spec.head, spec.pass, spec.training.optimizer_config(),
                    save_mode_from(spec.run.save_mode));
    std::optional<VocabularyMap> vocabulary;
    if (spec.transfers_vocabulary) vocabulary = transferred_vocabulary(spec, shards.train, world);
    const Progress progress = start_from(spec, model, vocabulary ? &*vocabulary : nullptr);
    LanguageModelTask task(model, shards.train, shards.valid ? &*shards.valid : nullptr, spec);
    const RunDescription description{spec.command, record_of(spec), shards.train.tokenizer_json(), spec.ini};
    return run_training(model, task, spec.training, spec.run, description, progress, signals, gathered.lock);
}

}  // namespace ulmpi
