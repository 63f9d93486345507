#include "training/trainer.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <chrono>
#include <cmath>
#include <future>

#include "base/files/publish.hpp"
#include "base/progress.hpp"
#include "base/random_key.hpp"
#include "checkpoints/run_folder.hpp"
#include "data/sample_ledger.hpp"
#include "parallel/run_main.hpp"
#include "training/interruption.hpp"
#include "training/profile.hpp"
#include "training/resuming.hpp"
#include "training/saving.hpp"

namespace ulmpi {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

// Rank 0 keeps the time.
std::optional<Interruption::Time> end_of_job(const RunOptions& run, const StopSignals& signals,
                                             const Communicator& all) {
    if (all.rank() != 0) return std::nullopt;
    const bool asks_slurm = run.walltime == "auto";
    return job_end(run.walltime, asks_slurm ? std::chrono::system_clock::now() : signals.since(), slurm_seconds_left);
}

// While it lives, the average of the weights stands in their place, if there is one.
class Averaged {
public:
    explicit Averaged(RankModel& model) : model_(model) { exchange(); }
    Averaged(const Averaged&) = delete;
    Averaged& operator=(const Averaged&) = delete;
    ~Averaged() { exchange(); }

private:
    void exchange() { model_.optimizer->exchange_average(model_.store); }
    RankModel& model_;
};

/// Everything that happens between steps, so that the loop reads as what it does.
class Training {
public:
    Training(RankModel& model, TrainingTask& task, const TrainingOptions& training, const RunOptions& run,
             const RunDescription& description, Progress progress, const StopSignals& signals,
             std::optional<FolderLock>& lock)
        : model_(model),
          task_(task),
          training_(training),
          run_(run),
          description_(description),
          progress_(progress),
          start_(progress),
          interruption_(signals, end_of_job(run, signals, model.topology.all), model.topology.all),
          folder_(run.run),
          leader_(model.topology.all.rank() == 0),
          bar_(description.title, "steps", task.steps(), leader_, progress.step),
          saving_(model, run,
                  {description.record, description.tokenizer_json, [this] { metrics_->sync(); }, &description.wide},
                  progress, pace_, bar_) {
        leader_alone(model.topology.all, [&] {
            folder_.create();
            if (!lock) {
                lock.emplace(folder_.lock());
                check_usage(folder_.checkpoints().empty(),
                            "another run has begun in {} meanwhile: give the command again to go on from "
                            "it, or give another --run",
                            run.run);
            }
            folder_.remove_stale_temporaries();
            for (const std::filesystem::path& path : folder_.set_newer_aside(progress.step))
                fmt::print(stderr,
                           "note: {} is the name now of a checkpoint above step {}, from which the run goes on\n",
                           path.string(), progress.step);
        });
        const std::filesystem::path metrics = folder_.root() / "metrics.jsonl";
        if (progress.step > 0 && task.evaluates() && run.eval_interval > 0 && progress.step % run.eval_interval == 0) {
            const bool left_off = std::filesystem::exists(metrics) && !holds_evaluation(metrics, progress.step);
            evaluation_due_ = broadcast_value(left_off, model.topology.all, 0);
            // Its checkpoint may be older than the evaluation and not know that it is the best.
            saving_.evaluated(progress.step, validation_loss(metrics, progress.step).value_or(NAN));
        }
        if (!leader_) return;
        write_file(folder_.root() / "tokenizer.json", description.tokenizer_json);
        write_file(folder_.root() / "config.ini", description.config_ini);
        metrics_.emplace(metrics, progress.step);
    }

    int run() {
        const std::string about = model_.description();
        if (leader_) fmt::print(stderr, "{}: {} steps; {}\n", description_.title, task_.steps(), about);
        begin_profile(model_, run_.profile);
        begin_ = Clock::now();
        while (progress_.step < task_.steps()) {
            saving_.look();
            if (evaluation_due_) evaluation_due_ = !evaluate(false);
            if (has_no_better()) break;
            const bool due = saving_.due(progress_.step);
            const bool stop = interruption_.agreed(pace_.needed(int(saving_.under_way()) + int(due)));
            if (due || (stop && saving_.is_behind(progress_.step))) save(stop);
            if (stop) return stopped();
            const Clock::time_point before = Clock::now();
            const StepPlan plan = next_step();
            const StepResult result = update(plan);
            pace_.step_took(seconds_since(before));
            progress_.seconds = start_.seconds + seconds_since(begin_);
            log(plan, result);
            evaluation_due_ = run_.eval_interval > 0 && progress_.step % run_.eval_interval == 0;
        }
        bar_.clear();
        return judge();
    }

    /// What follows the last update. Returns the exit status.
    int judge() {
        if (run_.early_stop > 0 && !progress_.of_step) {
            if (!has_no_better() && !evaluate(false)) {
                if (saving_.is_behind(progress_.step)) save(true);
                return stopped();
            }
            take_best();
        }
        if (saving_.is_behind(progress_.step)) save(true);
        if (!evaluate(true)) return stopped();
        if (saving_.best_is_due()) save(true);  // so that it says so
        if (leader_) metrics_->sync();
        const std::string phases = tokens() > 0 ? end_profile(model_, run_.profile, task_.flops(tokens())) : "";
        table();
        if (leader_) fmt::print(stderr, "{}", phases);
        return 0;
    }

    /// The last checkpoint once more, which does not know that its evaluation, of so much loss, was the best.
    int remember_best(double loss) {
        saving_.evaluated(progress_.step, loss);
        save(true);
        return 0;
    }

private:
    // Whether so many evaluations in a row were no better than one before, that the run ends.
    bool has_no_better() const {
        if (run_.early_stop == 0 || evaluation_due_ || progress_.step % run_.eval_interval != 0) return false;
        const std::optional<BestStep> best = saving_.best_known();
        return best && progress_.step >= best->step + run_.early_stop * run_.eval_interval;
    }

    // The model becomes that of the best evaluation, and is saved as the last.
    void take_best() {
        saving_.finish();
        const std::optional<BestStep> best = saving_.best_known();
        if (!best) return;  // no loss was a number
        progress_.of_step = best->step;
        if (best->step != progress_.step) {
            const std::filesystem::path path = folder_.checkpoint_path(best->step);
            load_checkpoint(path, model_.store, model_.moments(), model_.topology);
            const RunRecord record = record_of(path, read_checkpoint_info(path, model_.topology.all, true));
            model_.optimizer->updates_by_group() = record.saved.value().updates_by_group;
        }
        save(true);
    }

    // The batches of a step are read while the step before is computed: on a file system far away a read takes longer
    // than on a warm disk here.
    StepPlan next_step() {
        const During phase(&model_.timeline, Phase::load);
        StepPlan plan = ahead_.valid() ? ahead_.get() : task_.plan(progress_.step);
        if (const std::uint64_t after = progress_.step + 1; after < task_.steps())
            ahead_ = std::async(std::launch::async, [this, after] { return task_.plan(after); });
        return plan;
    }

    StepResult update(const StepPlan& plan) {
        PassOptions options;
        options.random_key = random_key(training_.seed, progress_.step);
        options.loss_scale = 1 / plan.weight;
        options.global_sequences = plan.sequences;
        options.class_weights = task_.class_weights();
        options.label_smoothing = task_.label_smoothing();
        options.first_trained_group = plan.rates.first_trained;
        options.states = model_.states ? &*model_.states : nullptr;
        Trainee trainee = model_.trainee();
        const StepResult result =
            train_step(trainee, plan.batches, options, plan.rates, training_.clip_grad, progress_.step + 1);
        for (const MicroBatch& batch : plan.batches)
            for (std::size_t i = 0; i < batch.samples.size(); ++i)
                read_here_ += ledger_entry(progress_.step, batch.first_row + i, batch.samples[i]);
        ++progress_.step;
        progress_.tokens += plan.tokens;
        return result;
    }

    // Of all replicas, as 16 digits; empty if the run began without one. Collective.
    std::string ledger() {
        if (!progress_.ledger) return "";
        model_.topology.data.all_reduce_sum(std::span<std::uint64_t>(&read_here_, 1));
        *progress_.ledger += std::exchange(read_here_, 0);
        return fmt::format("{:016x}", *progress_.ledger);
    }

    // Of this process.
    std::uint64_t tokens() const { return progress_.tokens - start_.tokens; }
    double tokens_per_second() const {
        const double seconds = seconds_since(begin_);
        return seconds > 0 ? static_cast<double>(tokens()) / seconds : 0;
    }

    void log(const StepPlan& plan, const StepResult& result) {
        last_loss_ = result.loss;
        const bool writes = progress_.step % run_.log_interval == 0 || progress_.step == task_.steps();
        const std::string read = writes ? ledger() : "";
        if (!leader_) return;
        const double rate = plan.rates.rate.back(), speed = tokens_per_second();
        bar_.update(progress_.step,
                    fmt::format("{} {:.3f}  {}", task_.loss_name(), result.loss, format_rate(speed, "tokens")));
        if (!writes) return;
        Record record;
        record["kind"] = "train";
        record["step"] = progress_.step;
        record["steps"] = task_.steps();
        record["loss"] = number(result.loss);
        if (task_.label_smoothing() > 0) record["label_smoothing"] = task_.label_smoothing();
        record["lr"] = number(rate);
        record["grad_norm"] = number(result.gradient_norm);
        record["tokens"] = progress_.tokens;
        if (!read.empty()) record["ledger"] = read;
        record["tokens_per_s"] = number(speed);
        metrics_->write(record);
    }

    // False if it was left off.
    bool evaluate(bool last) {
        const During phase(&model_.timeline, Phase::evaluate);
        const Averaged averaged(model_);
        // A pass of some micro-batches forward may take longer than a step of one. It may make a save due.
        const double needed =
            1.5 * pace_.step +
            (last && run_.eval_interval == 0 ? 1.5 * pace_.step + 3 : pace_.needed(int(saving_.under_way()) + 1));
        std::optional<std::vector<Record>> records = task_.evaluate(last, [&] { return interruption_.agreed(needed); });
        if (!records) return false;
        for (Record& record : *records) {
            Record with_step;
            with_step["kind"] = record["kind"];
            with_step["step"] = progress_.step;
            if (progress_.of_step) with_step["of_step"] = *progress_.of_step;
            with_step.update(record);
            if (leader_) metrics_->write(with_step);
            last_evaluation_.push_back(with_step);
            if (run_.eval_interval > 0 && record["kind"] == "valid")
                saving_.evaluated(progress_.step, record["loss"].get<double>());
        }
        return true;
    }

    // With a checkpoint of all that was done; what was left off is done when the run goes on.
    int stopped() {
        bar_.clear();
        const bool too_short = broadcast_value(interruption_.time_is_short(), model_.topology.all, 0);
        check_usage(!too_short || tokens() > 0 || !last_evaluation_.empty(),
                    "the job's time does not do for anything: {:.0f} s are left, a step takes about {:.1f} "
                    "s, a checkpoint {:.1f} s, and an evaluation its time; ask for more, or say --walltime "
                    "none",
                    broadcast_value(interruption_.seconds_left().value_or(0), model_.topology.all, 0), pace_.step,
                    pace_.save);
        if (leader_) metrics_->sync();
        const std::string phases = tokens() > 0 ? end_profile(model_, run_.profile, task_.flops(tokens())) : "";
        if (leader_)
            fmt::print(stderr, "{}{}{}: stopped by {} at step {} of {}; {} goes on from there\n", phases, saves(),
                       description_.title, interruption_.reason(), progress_.step, task_.steps(),
                       command_to_go_on(run_));
        return stopped_early;
    }

    void save(bool last) {
        ledger();
        const bool complete = progress_.of_step || progress_.step >= task_.steps();
        saving_.save({progress_, training_.seed, model_.optimizer->updates_by_group(), complete}, last);
    }

    void table() const {
        if (!leader_) return;
        fmt::print(stderr, "{}: {} steps, {} tokens, {}, {}, last {} {:.4f}\n", description_.title, progress_.step,
                   format_count(static_cast<double>(progress_.tokens)), format_duration(seconds_since(begin_)),
                   format_rate(tokens_per_second(), "tokens"), task_.loss_name(), last_loss_);
        for (const Record& record : last_evaluation_) {
            if (record.value("step", std::uint64_t{0}) != progress_.step) continue;
            if (progress_.of_step && !record.contains("of_step")) continue;
            std::string line = "  " + record["kind"].get<std::string>() + ":";
            for (const auto& [key, value] : record.items())
                if (value.is_number() && key != "step" && key != "of_step")
                    line += value.is_number_float() ? fmt::format("  {} {:.4f}", key, value.get<double>())
                                                    : fmt::format("  {} {}", key, value.dump());
            fmt::print(stderr, "{}\n", line);
        }
        if (progress_.of_step)
            fmt::print(
                stderr, "  the model is that of step {}, the best on validation{}\n", *progress_.of_step,
                progress_.step < task_.steps()
                    ? fmt::format("; training ended early, at step {} of {}: no better in {} evaluation{} after it",
                                  progress_.step, task_.steps(), run_.early_stop, run_.early_stop == 1 ? "" : "s")
                    : "");
        fmt::print(stderr, "{}  {}\n", saves(), folder_.root().string());
    }

    // How the saves went, and where the best is to be found.
    std::string saves() const {
        std::string text = saving_.summary();
        if (!text.empty()) text = "  " + text + "\n";
        if (const std::optional<BestStep> best = saving_.best())
            if (const auto path = folder_.checkpoint_path(best->step); std::filesystem::exists(path))
                text += fmt::format("  best: validation loss {:.4f} at step {}, kept as {}\n", best->loss, best->step,
                                    path.string());
        return text;
    }

    RankModel& model_;
    TrainingTask& task_;
    const TrainingOptions& training_;
    const RunOptions& run_;
    const RunDescription& description_;
    Progress progress_;
    Pace pace_;
    const Progress start_;  ///< of this process
    Interruption interruption_;
    RunFolder folder_;
    bool leader_;
    ProgressLine bar_;
    std::optional<MetricsFile> metrics_;
    Clock::time_point begin_ = Clock::now();
    Saving saving_;
    bool evaluation_due_ = false;
    std::vector<Record> last_evaluation_;
    double last_loss_ = 0;
    std::uint64_t read_here_ = 0;  ///< the ledger of this replica since all were added up
    std::future<StepPlan> ahead_;  ///< that of the next step; its destructor waits
};

}  // namespace

int run_training(RankModel& model, TrainingTask& task, const TrainingOptions& training, const RunOptions& run,
                 const RunDescription& description, Progress progress, const StopSignals& signals,
                 std::optional<FolderLock>& lock) {
    const auto started = [&] { return Training(model, task, training, run, description, progress, signals, lock); };
    if (!progress.of_step && progress.step < task.steps()) return started().run();
    const std::filesystem::path metrics = std::filesystem::path(run.run) / "metrics.jsonl";
    const bool judged =
        broadcast_value(holds_evaluation(metrics, progress.step, run.early_stop > 0), model.topology.all, 0);
    const std::filesystem::path own = RunFolder(run.run).checkpoint_path(progress.step);  // or it was another run's
    const bool is_here = broadcast_value(std::filesystem::exists(own), model.topology.all, 0);
    if ((task.evaluates() && !judged) || !is_here) return started().judge();
    if (run.eval_interval > 0 && !progress.of_step) {
        const double loss =
            broadcast_value(validation_loss(metrics, progress.step).value_or(NAN), model.topology.all, 0);
        if (is_better(loss, progress.best)) return started().remember_best(loss);
    }
    if (model.topology.all.rank() == 0)
        fmt::print(stderr, "{}: {} has {}; nothing to do\n", description.title, run.run,
                   progress.step >= task.steps()
                       ? fmt::format("all its {} steps", progress.step)
                       : fmt::format("ended early, at step {}, with the model of step {}, the best on validation",
                                     progress.step, *progress.of_step));
    return 0;
}

}  // namespace ulmpi
