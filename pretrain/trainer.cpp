#include "pretrain/trainer.hpp"

#include <fmt/format.h>

#include <chrono>
#include <future>

#include "checkpoints/checkpoint.hpp"
#include "checkpoints/run_folder.hpp"
#include "data/publish.hpp"
#include "parallel/progress.hpp"
#include "parallel/random_key.hpp"
#include "parallel/run_main.hpp"
#include "pretrain/profile.hpp"

namespace ulmpi {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

/// Everything that happens between steps, so that the loop reads as what it does.
class Training {
public:
    Training(RankModel& model, TrainingTask& task, const TrainingOptions& training, const RunOptions& run,
             const RunDescription& description, Progress progress)
        : model_(model),
          task_(task),
          training_(training),
          run_(run),
          description_(description),
          progress_(progress),
          folder_(run.run),
          save_interval_(save_interval_from(run.save_interval)),
          leader_(model.topology.all.rank() == 0),
          bar_(description.title, "steps", task.steps(), leader_, progress.step) {
        together(model.topology.all, [&] {
            if (!leader_) return;
            folder_.create();
            folder_.remove_stale_temporaries();
        });
        if (!leader_) return;
        write_file(folder_.root() / "tokenizer.json", description.tokenizer_json);
        write_file(folder_.root() / "config.ini", description.config_ini);
        metrics_.emplace(folder_.root() / "metrics.jsonl", progress.step);
    }

    void run() {
        const std::string about = model_.description();
        if (leader_) fmt::print(stderr, "{}: {} steps; {}\n", description_.title, task_.steps(), about);
        begin_profile(model_, run_.profile);
        const Clock::time_point begin = Clock::now();
        const Progress start = progress_;
        Clock::time_point last_save = begin;
        while (progress_.step < task_.steps()) {
            const StepPlan plan = next_step();
            const StepResult result = update(plan);
            progress_.seconds = start.seconds + seconds_since(begin);
            log(plan, result, progress_.tokens - start.tokens, seconds_since(begin));
            const bool last = progress_.step == task_.steps();
            if (!last && run_.eval_interval > 0 && progress_.step % run_.eval_interval == 0) evaluate(false);
            if (!last && save_is_due(seconds_since(last_save))) {
                save(false);
                last_save = Clock::now();
            }
        }
        bar_.clear();
        save(true);
        judge(progress_.tokens - start.tokens, seconds_since(begin));
    }

    /// What follows the last checkpoint, after `tokens` in `seconds` of this process.
    void judge(std::uint64_t tokens, double seconds) {
        evaluate(true);
        if (leader_) metrics_->sync();
        const std::string phases = tokens > 0 ? end_profile(model_, run_.profile, task_.flops(tokens)) : "";
        table(tokens, seconds);
        if (leader_) fmt::print(stderr, "{}", phases);
    }

private:
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
        options.first_trained_group = plan.rates.first_trained;
        Trainee trainee = model_.trainee();
        const StepResult result =
            train_step(trainee, plan.batches, options, plan.rates, training_.clip_grad, progress_.step + 1);
        ++progress_.step;
        progress_.tokens += plan.tokens;
        return result;
    }

    void log(const StepPlan& plan, const StepResult& result, std::uint64_t tokens, double seconds) {
        last_loss_ = result.loss;
        if (!leader_) return;
        const double rate = plan.rates.rate.back();
        bar_.update(progress_.step, fmt::format("loss {:.3f}  {}", result.loss,
                                                format_rate(static_cast<double>(tokens) / seconds, "tokens")));
        if (progress_.step % run_.log_interval != 0 && progress_.step != task_.steps()) return;
        Record record;
        record["kind"] = "train";
        record["step"] = progress_.step;
        record["loss"] = number(result.loss);
        record["lr"] = number(rate);
        record["grad_norm"] = number(result.gradient_norm);
        record["tokens"] = progress_.tokens;
        record["tokens_per_s"] = number(static_cast<double>(tokens) / seconds);
        metrics_->write(record);
    }

    void evaluate(bool last) {
        const During phase(&model_.timeline, Phase::evaluate);
        for (Record& record : task_.evaluate(last)) {
            Record with_step;
            with_step["kind"] = record["kind"];
            with_step["step"] = progress_.step;
            with_step.update(record);
            if (leader_) metrics_->write(with_step);
            last_evaluation_.push_back(with_step);
        }
    }

    // Rank 0's clock decides for all.
    bool save_is_due(double seconds) const {
        if (save_interval_.steps > 0) return progress_.step % save_interval_.steps == 0;
        return save_interval_.seconds > 0 && broadcast_value(seconds, model_.topology.all, 0) >= save_interval_.seconds;
    }

    // A save that fails between steps is said and the run goes on; the last one must succeed.
    void save(bool last) {
        const During phase(&model_.timeline, Phase::save);
        nlohmann::json metadata = description_.metadata;
        metadata["progress"] = {{"step", progress_.step},
                                {"tokens", progress_.tokens},
                                {"seconds", progress_.seconds},
                                {"seed", training_.seed},
                                {"updates_by_group", model_.optimizer->updates_by_group()},
                                {"complete", progress_.step >= task_.steps()}};
        if (leader_) metrics_->sync();
        const std::filesystem::path path = folder_.checkpoint_path(progress_.step);
        const Moments moments{model_.optimizer->first_moments(), model_.optimizer->second_moments()};
        const std::optional<std::string> failure =
            save_checkpoint(path, metadata, description_.tokenizer_json, model_.store, moments, model_.topology);
        if (!failure) {
            if (leader_) folder_.prune(run_.keep_last);
            return;
        }
        if (last) {
            check(!leader_, "the last checkpoint could not be saved: " + *failure);
            model_.topology.all.barrier();  // until rank 0 has ended the job
        }
        bar_.clear();
        if (leader_)
            fmt::print(stderr, "note: the checkpoint of step {} could not be saved ({}); the run goes on\n",
                       progress_.step, *failure);
    }

    void table(std::uint64_t tokens, double seconds) const {
        if (!leader_) return;
        fmt::print(stderr, "{}: {} steps, {} tokens, {}, {}, last loss {:.4f}\n", description_.title, progress_.step,
                   format_count(static_cast<double>(progress_.tokens)), format_duration(seconds),
                   format_rate(seconds > 0 ? static_cast<double>(tokens) / seconds : 0, "tokens"), last_loss_);
        for (const Record& record : last_evaluation_) {
            if (record.value("step", std::uint64_t{0}) != progress_.step) continue;
            std::string line = "  " + record["kind"].get<std::string>() + ":";
            for (const auto& [key, value] : record.items())
                if (value.is_number() && key != "step")
                    line += value.is_number_float() ? fmt::format("  {} {:.4f}", key, value.get<double>())
                                                    : fmt::format("  {} {}", key, value.dump());
            fmt::print(stderr, "{}\n", line);
        }
        fmt::print(stderr, "  {}\n", folder_.root().string());
    }

    RankModel& model_;
    TrainingTask& task_;
    const TrainingOptions& training_;
    const RunOptions& run_;
    const RunDescription& description_;
    Progress progress_;
    RunFolder folder_;
    SaveInterval save_interval_;
    bool leader_;
    ProgressLine bar_;
    std::optional<MetricsFile> metrics_;
    std::vector<Record> last_evaluation_;
    double last_loss_ = 0;
    std::future<StepPlan> ahead_;  ///< that of the next step; its destructor waits
};

}  // namespace

void run_training(RankModel& model, TrainingTask& task, const TrainingOptions& training, const RunOptions& run,
                  const RunDescription& description, Progress progress) {
    if (progress.step < task.steps()) return Training(model, task, training, run, description, progress).run();
    const std::filesystem::path metrics = std::filesystem::path(run.run) / "metrics.jsonl";
    const bool judged = broadcast_value(holds_evaluation(metrics, progress.step), model.topology.all, 0);
    if (task.evaluates() && !judged) return Training(model, task, training, run, description, progress).judge(0, 0);
    if (model.topology.all.rank() == 0)
        fmt::print(stderr, "{}: {} has all its {} steps; nothing to do\n", description.title, run.run, progress.step);
}

std::optional<std::filesystem::path> checkpoint_to_resume(const RunOptions& run, const Communicator& world) {
    return together(world, [&]() -> std::optional<std::filesystem::path> {
        if (run.resume != "auto" && run.resume != "never") return resolve_checkpoint(run.resume);
        const std::optional<std::filesystem::path> newest = RunFolder(run.run).newest();
        check_usage(!newest || run.resume == "auto",
                    fmt::format("{} holds a run already ({}): give another --run, or --resume auto to go on with it",
                                run.run, newest ? newest->filename().string() : ""));
        return newest;
    });
}

Progress resume_from(const StoredModel& stored, RankModel& model) {
    load_checkpoint(stored.path, model.store, {model.optimizer->first_moments(), model.optimizer->second_moments()},
                    model.topology, {.verified = true});
    const nlohmann::json& p = stored.info.metadata.at("progress");
    p.at("updates_by_group").get_to(model.optimizer->updates_by_group());
    if (model.topology.all.rank() == 0)
        fmt::print(stderr, "going on from {} (step {})\n", stored.path.string(), p.at("step").get<std::uint64_t>());
    return {p.at("step").get<std::uint64_t>(), p.at("tokens").get<std::uint64_t>(), p.at("seconds").get<double>()};
}

}  // namespace ulmpi
