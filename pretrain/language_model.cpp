#include "pretrain/language_model.hpp"

#include <fmt/format.h>

#include <cmath>

#include "parallel/progress.hpp"
#include "parallel/run_main.hpp"
#include "pretrain/lineage.hpp"
#include "pretrain/profile.hpp"
#include "pretrain/resuming.hpp"

namespace ulmpi {

std::optional<Score> score_dataset(RankModel& model, const TokenDataset& dataset, std::size_t stride,
                                   std::size_t micro_batch, bool show_progress, const LeaveOff& leave_off) {
    const ScoringWindows windows(dataset, model.stage.config().context, stride);
    const Topology& topology = model.topology;
    const auto replicas = static_cast<std::size_t>(topology.extents.data);
    const Range mine = even_slice(windows.count(), replicas, static_cast<std::size_t>(topology.at.data));
    const std::size_t most = even_slice(windows.count(), replicas, 0).size();  // all are asked equally often
    // A pass holds a few micro-batches, so that a pipeline is kept busy and memory stays small.
    const std::size_t per_pass = micro_batch * static_cast<std::size_t>(4 * topology.extents.pipeline);
    PassOptions options;
    options.training = false;
    double loss = 0;
    ProgressLine bar("evaluating", "windows", mine.size(), show_progress && topology.all.rank() == 0);
    for (std::size_t done = 0; done < most; done += per_pass) {
        if (leave_off && leave_off()) return std::nullopt;
        const std::size_t first = std::min(mine.last, mine.first + done), last = std::min(mine.last, first + per_pass);
        if (first == last) continue;
        std::vector<MicroBatch> batches;
        for (std::size_t begin = first; begin < last; begin += micro_batch)
            batches.push_back(windows.batch(begin, std::min(last, begin + micro_batch)));
        loss += evaluate_pass(model.stage, topology, model.layout.threads, batches, options);
        bar.update(last - mine.first);
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
                                     const TrainingOptions& training, std::size_t micro_batch,
                                     double discriminative_factor)
    : model_(model),
      valid_(valid),
      batches_(train, training.seed, model.stage.config().context, training.global_batch, micro_batch),
      global_batch_(training.global_batch),
      micro_batch_(micro_batch),
      factor_(discriminative_factor),
      flops_per_token_(training_flops(model.stage.config(), model.parameters())) {
    rate_.schedule = rate_schedule_from(training.lr_schedule);
    rate_.peak = training.lr;
    rate_.least = training.min_lr;
    rate_.steps = steps_of(training, batches_.windows(), model.stage.config().context);
    rate_.warm_up = training.warmup_steps;
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

LanguageModelOptions::LanguageModelOptions(const LanguageModelStage& stage) {
    if (!stage.continues) return;
    training.lr_schedule = "stlr";
    factor = 1.3;
}

void LanguageModelOptions::declare(OptionTable& table, const LanguageModelStage& stage) {
    if (stage.continues)
        table.example("--init-from runs/wiki --data shards/domain --epochs 3 --run runs/domain");
    else
        table.example("--data shards/wiki --train-tokens 100000000 --lr 1e-3 --run runs/wiki");
    table.group("Data");
    table.add("data", data, "shards to train on (made by ulmpi data shards)", "DIR");
    table.required("data");
    table.add("valid", valid, "shards to evaluate on", "DIR");
    if (stage.continues) {
        table.add("init-from", init_from, "run or checkpoint that gives shape, weights and tokenizer", "RUN");
        table.required("init-from");
        table.add("discriminative-factor", factor, "each block learns this many times slower than the one above it");
        table.range("discriminative-factor", 0.01, 1000);
        table.group("Model (its shape comes from --init-from)");
        add_dropout_options(table, shape);
    } else {
        add_shape_options(table, shape);
    }
    add_duration_options(table, training);
    add_optimizer_options(table, training);
    add_layout_options(table, layout);
    add_run_options(table, run);
}

namespace {

void check_same_tokenizer(const TokenDataset& dataset, const std::string& path, std::uint64_t fingerprint) {
    check_usage(dataset.fingerprint() == fingerprint,
                fmt::format("{} was made with another tokenizer than the model's: make its shards again with the "
                            "model's tokenizer.json",
                            path));
}

}  // namespace

int train_language_model(const LanguageModelStage& stage, std::span<const std::string> arguments,
                         const Communicator& world) {
    LanguageModelOptions o(stage);
    OptionTable table(stage.command, stage.continues ? "Stage 2: continues a language model on the text of a domain, "
                                                       "with slanted triangular and discriminative rates."
                                                     : "Stage 1: trains a language model on shards of tokens.");
    o.declare(table, stage);
    const StopSignals signals;
    if (!together(world, [&] { return table.parse(arguments); })) return 0;

    std::optional<FolderLock> lock = lock_run(o.run, world);
    std::optional<StoredModel> source = model_to_resume(o.run, world);
    const bool resumed = source.has_value();
    if (!resumed && stage.continues) source.emplace(open_model(o.init_from, world));
    if (resumed)
        together(world, [&] { take_stored_options(table, source->info.metadata, stage.command, world.size()); });

    const TokenDataset train = open_dataset(o.data, world);
    std::optional<TokenDataset> valid;
    if (!o.valid.empty()) valid.emplace(open_dataset(o.valid, world));
    ModelConfig config = together(world, [&] { return o.shape.resolved(); });
    std::uint64_t fingerprint = train.fingerprint();
    if (source) {
        together(world, [&] {
            check_usage(source->kind == "language-model",
                        fmt::format("{} holds no language model", source->path.string()));
            config = source->config;
            take_shape(table, config, source->path.string());
            fingerprint = source->tokenizer.fingerprint();
        });
        apply_dropouts(table, o.shape, config);
    } else {
        config.vocabulary = train.vocabulary_size();
        config.end_of_text = train.end_of_text();
    }
    together(world, [&] {
        check_same_tokenizer(train, o.data, fingerprint);
        if (valid) check_same_tokenizer(*valid, o.valid, fingerprint);
        train.windows(config.context);
        steps_of(o.training, train.windows(config.context), config.context);
        check_run_options(o.run);
        if (world.rank() == 0) check_profile(o.run.profile);
    });

    const Layout layout = layout_from(o.layout, world);
    together(world, [&] {
        check_usage(
            o.training.global_batch >= static_cast<std::size_t>(layout.extents.data),
            fmt::format("--global-batch-size {} leaves some of the {} data-parallel replicas without a sequence",
                        o.training.global_batch, layout.extents.data));
        check_model(config);
        check_layout(config, layout.extents.pipeline, layout.extents.tensor);
    });
    const std::size_t replica_rows =
        even_slice(o.training.global_batch, static_cast<std::size_t>(layout.extents.data), 0).size();
    const std::size_t micro_batch =
        fitted_micro_batch(std::min(o.layout.micro_batch, replica_rows), config.context, layout.threads);
    const PassPlan plan{micro_batch, config.context, static_cast<int>((replica_rows + micro_batch - 1) / micro_batch)};
    agree_on(world, "options", table.ini());
    RankModel model(world, layout, config, {}, plan, o.training.optimizer_config(), save_mode_from(o.run.save_mode));
    Progress progress;
    if (resumed) {
        progress = resume_from(*source, model);
    } else if (source) {
        load_checkpoint(source->path, model.store, {}, model.topology, {.moments = false, .verified = true});
    } else {
        model.store.initialize(o.training.seed);
    }
    LanguageModelTask task(model, train, valid ? &*valid : nullptr, o.training, micro_batch, o.factor);
    const RunDescription description{
        stage.command,
        {{"kind", "language-model"},
         {"command", stage.command},
         {"lineage", run_lineage(stage.command, table.json(), source ? &*source : nullptr, resumed, world)},
         {"model", to_json(config)},
         {"options", table.json()},
         {"tokenizer_fingerprint", fingerprint},
         {"data", {{"path", o.data}, {"tokens", train.token_count()}, {"fingerprint", train.fingerprint()}}}},
        train.tokenizer_json(),
        table.ini()};
    return run_training(model, task, o.training, o.run, description, progress, signals, lock);
}

}  // namespace ulmpi
