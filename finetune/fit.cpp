#include "finetune/fit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>

#include "data/publish.hpp"
#include "data/shard_writer.hpp"
#include "finetune/classifier.hpp"
#include "finetune/fit_baselines.hpp"
#include "finetune/fit_clock.hpp"
#include "finetune/fit_folder.hpp"
#include "finetune/fit_report.hpp"
#include "finetune/fit_rows.hpp"
#include "finetune/fit_speed.hpp"
#include "finetune/judge.hpp"
#include "finetune/linear_fit.hpp"
#include "parallel/progress.hpp"
#include "parallel/run_main.hpp"
#include "pretrain/language_model.hpp"

namespace ulmpi {
namespace {

namespace fs = std::filesystem;

// How long is measured: seconds say more on a busy machine, but are not to take much of a short time.
double seconds_to_measure(double given) { return std::clamp(0.005 * given, 0.3, 3.0); }

std::string content_of(const fs::path& file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

/// How a part of a fit ended: as planned; before that, because its time was over; or with the whole fit.
enum class Outcome { done, cut_short, stopped };

/// One fit, from its beginning or from where it was stopped. Every rank calls every function alike.
class Fit {
public:
    Fit(const FitOptions& options, const OptionTable& table, const StopSignals& signals, const Communicator& world)
        : options_(options),
          signals_(signals),
          world_(world),
          leader_(world.rank() == 0),
          folder_(options.run),
          clock_(60 * options.minutes, options.walltime, signals, world),
          interruption_(signals, clock_.end_of_job(), world),
          task_(read_fit_task(options, world)),
          stages_(options, table, world) {}

    int run() {
        begin();
        if (record_.reported) return tell_again();
        if (compare() && train_on_text() && train_on_rows() && hold_folds_out() && report()) return 0;
        if (leader_)
            fmt::print(stderr, "fit: stopped by {}; the same command goes on from there\n", interruption_.reason());
        return stopped_early;
    }

private:
    bool stopped() { return interruption_.agreed(1); }
    void remember() const {
        if (leader_) folder_.write(record_);
    }
    Outcome outcome(int status, const FitClock::Limit& limit) {
        if (status != stopped_early) return Outcome::done;
        return limit.of_job || stopped() ? Outcome::stopped : Outcome::cut_short;
    }

    // What rank 0 finds of an earlier start, or else the plan.
    void begin() {
        const std::string found = together(world_, [&] {
            if (!leader_) return std::string();
            const std::optional<FitRecord> record = folder_.begun(task_.asked);
            return record ? to_json(*record).dump() : std::string();
        });
        if (const std::string record = broadcast_text(found, world_, 0); !record.empty()) {
            record_ = fit_record_from(nlohmann::json::parse(record));
            clock_.add(record_.spent);
        } else {
            plan();
        }
        rows_ = used_rows();
        together(world_, [&] {
            if (!leader_) return;
            lock_.emplace(folder_.create());
            record_.began = seconds_of(signals_.since());
            if (!record_.reported) folder_.write(record_);
        });
    }

    void plan() {
        record_.asked = task_.asked;
        record_.speed = measure_speed(task_, stages_, seconds_to_measure(clock_.given()), world_);
        const double spent = clock_.spent();
        record_.plan =
            together(world_, [&] { return plan_fit(task_.facts, record_.speed, clock_.given() - spent, spent); });
        if (!leader_) return;
        fmt::print(stderr,
                   "fit: {} are given; this machine makes {} of stage 2 and {} of stage 3, in {}. The plan:\n{}",
                   format_duration(clock_.given()), format_rate(record_.speed.text, "tokens"),
                   format_rate(record_.speed.classifier, "tokens"), stages_.layout().precision,
                   description(record_.plan, task_.facts));
    }

    LabelledSet used_rows() const {
        const std::uint64_t rows = record_.plan.classifier.rows;
        if (rows >= task_.train.size()) return task_.train;
        const std::size_t classes = task_.train.classes.size();
        return rows_of(task_.train, stratified_sample(task_.train.labels, classes, rows, options_.seed));
    }

    bool compare() {
        if (!record_.baselines) {
            const LabelledSet* judged = task_.test ? &*task_.test : nullptr;
            record_.baselines = to_json(baselines(rows_, judged, options_.seed, options_.layout.threads, world_));
            remember();
        }
        return !stopped();
    }

    // ---- stage 2

    bool train_on_text() {
        const TextPlan& plan = record_.plan.text;
        if (record_.text_done || plan.read == 0) return true;
        make_shards();
        if (stopped()) return false;
        const FitClock::Limit limit = clock_.limit(plan.latest);
        const int status = train_language_model(
            stages_.language_model(plan, folder_.shards(), folder_.language_model(), limit.walltime), signals_, world_);
        const Outcome how = outcome(status, limit);
        if (how == Outcome::stopped) return false;
        if (how == Outcome::cut_short && leader_)
            fmt::print(stderr, "note: stage 2 took longer than planned and ends here, so that stage 3 has its time\n");
        record_.text_done = true;
        remember();
        return true;
    }

    void make_shards() const {
        together(world_, [&] {
            if (!leader_ || fs::exists(folder_.shards())) return;
            std::vector<std::string> files = options_.text;
            TextOptions reading = options_.reading();
            if (files.empty()) {
                std::string lines;
                for (const std::string& text : task_.train.texts) lines += text + "\n";
                files = {(folder_.text() / "train.txt").string()};
                write_file(files[0], lines);
                reading = {.format = TextFormat::plain};
            }
            TextReader reader({files.begin(), files.end()}, reading);
            ShardOptions options;
            if (const TextPlan& plan = record_.plan.text; plan.tokens < task_.facts.text_tokens)
                options.takes = evenly(static_cast<double>(plan.tokens) / static_cast<double>(task_.facts.text_tokens));
            ProgressLine progress("writing shards", "bytes", reader.bytes_total(), true);
            write_shards(task_.model.tokenizer, reader, folder_.shards(), options,
                         [&](std::uint64_t bytes, std::uint64_t) { progress.update(bytes); });
        });
    }

    // A share of the documents, in even distances, the first among them.
    static std::function<bool(std::uint64_t)> evenly(double share) {
        return [share](std::uint64_t document) {
            const double before = static_cast<double>(document) * share;
            return document == 0 || std::floor(before + share) > std::floor(before);
        };
    }

    // ---- stage 3

    bool train_on_rows() {
        if (!record_.classifier_planned) plan_again();
        if (!record_.baselines && !compare()) return false;
        ClassifierPlan& plan = record_.plan.classifier;
        if (record_.classifier_done) return true;
        const double before = clock_.spent();
        const std::string rows = rows_.size() == task_.train.size() ? options_.train : file_of(rows_, "train");
        const Outcome how = train(rows, folder_.root(), plan.seconds + plan.judging);
        if (how == Outcome::stopped) return false;
        if (how == Outcome::cut_short && leader_)
            fmt::print(stderr, "note: the classifier took longer than planned and is left as it is\n");
        // What it took says best what a fold will take, of which a little less is trained.
        plan.fold_seconds = std::max(plan.fold_seconds, clock_.spent() - before);
        record_.classifier_done = true;
        remember();
        return true;
    }

    // For the time that stage 2 has left, at the speed that the machine has now.
    void plan_again() {
        FitSpeed speed = record_.speed;
        speed.classifier = measure_classifier(task_, rows_, stages_, seconds_to_measure(clock_.given()), world_);
        record_.plan.classifier = plan_classifier(facts_with(task_.facts, rows_), speed, clock_.left());
        record_.classifier_planned = true;
        if (record_.plan.classifier.rows < rows_.size()) record_.baselines.reset();  // they learn from the same rows
        rows_ = used_rows();
        FitFacts facts = task_.facts;
        facts.text_tokens = 0;  // done
        if (leader_)
            fmt::print(stderr, "fit: the plan for the rest of the time:\n{}",
                       description({{}, record_.plan.classifier}, facts));
        remember();
    }

    /// Trains in `run` as planned, for `seconds` and half as many more at most if that is beyond the time given.
    Outcome train(const std::string& rows, const fs::path& run, double seconds) {
        const std::string begins = record_.plan.text.read > 0 ? folder_.language_model().string() : options_.init_from;
        const FitClock::Limit limit = clock_.limit(std::max(clock_.given(), clock_.spent() + 1.5 * seconds + 5));
        const ClassifierRequest asked = stages_.classifier(record_.plan.classifier, begins, rows, run, limit.walltime);
        return outcome(train_classifier(asked, signals_, world_), limit);
    }

    // Rows as a file that a trainer reads.
    std::string file_of(const LabelledSet& rows, const std::string& name) const {
        const fs::path file = folder_.rows(name);
        if (leader_ && !fs::exists(file)) save_labelled_set(file, rows, task_.model.tokenizer);
        world_.barrier();
        return file.string();
    }

    // ---- cross-validation

    /// Of each row its fold, counted from 1.
    std::vector<std::uint32_t> folds() const {
        auto fold = stratified_folds(rows_.labels, rows_.classes.size(), record_.plan.classifier.folds, options_.seed);
        for (std::uint32_t& number : fold) ++number;
        return fold;
    }
    LabelledSet part(std::uint32_t number, bool held_out) const {
        const std::vector<std::uint32_t> fold = folds();
        std::vector<std::uint32_t> rows;
        for (std::uint32_t row = 0; row < fold.size(); ++row)
            if ((fold[row] == number) == held_out) rows.push_back(row);
        return rows_of(rows_, rows);
    }

    bool hold_folds_out() {
        ClassifierPlan& plan = record_.plan.classifier;
        for (std::uint32_t number = 1; number <= plan.folds_held; ++number) {
            if (broadcast_value(fs::exists(folder_.held_out(number)), world_, 0)) continue;
            const Outcome how = clock_.left() < plan.fold_seconds ? Outcome::cut_short : hold_out(number);
            if (how == Outcome::stopped) return false;
            if (how == Outcome::done) continue;
            if (leader_)
                fmt::print(stderr, "note: the time does for {} of the {} folds that were planned\n", number - 1,
                           plan.folds_held);
            plan.folds_held = number - 1;
            remember();
        }
        return true;
    }

    Outcome hold_out(std::uint32_t number) {
        const ClassifierPlan& plan = record_.plan.classifier;
        if (leader_) fmt::print(stderr, "fit: fold {} of {} is held out\n", number, plan.folds_held);
        const Outcome how = train(file_of(part(number, false), fmt::format("without-{}", number)), folder_.fold(number),
                                  plan.fold_seconds);
        if (how != Outcome::done) return how;
        const auto judged = what_says(folder_.fold(number), part(number, true));
        if (!judged) return Outcome::stopped;
        if (leader_) {
            write_file(folder_.held_out(number), nlohmann::json(*judged).dump());
            fs::remove_all(folder_.fold(number));
            fs::remove(folder_.rows(fmt::format("without-{}", number)));
        }
        world_.barrier();
        return Outcome::done;
    }

    /// What was said of the rows held out, fold by fold. Rank 0's.
    JudgedRows held_out_rows() const {
        JudgedRows judged;
        const std::vector<std::uint32_t> fold = folds();
        std::vector<std::uint32_t> rows;
        for (std::uint32_t number = 1; number <= record_.plan.classifier.folds_held; ++number) {
            for (std::uint32_t row = 0; row < fold.size(); ++row)
                if (fold[row] == number) rows.push_back(row);
            const auto said = nlohmann::json::parse(content_of(folder_.held_out(number))).get<std::vector<float>>();
            judged.probabilities.insert(judged.probabilities.end(), said.begin(), said.end());
        }
        judged.rows = rows_of(rows_, rows);
        for (const Baseline& baseline : baselines_from(*record_.baselines)) {
            judged.baselines.push_back({baseline.name, {}});
            for (const std::uint32_t row : rows) judged.baselines.back().said.push_back(baseline.said[row]);
        }
        return judged;
    }

    // ---- the end

    std::optional<std::vector<float>> what_says(const fs::path& run, const LabelledSet& rows) {
        const StoredModel stored = open_model(run.string(), world_);
        const StoredClassifier classifier = together(world_, [&] { return classifier_from(stored); });
        return judge(stored, classifier, rows, stages_.layout(), world_, [&] { return stopped(); });
    }

    bool report() {
        FitResult result{.plan = record_.plan,
                         .all_rows = task_.train.size(),
                         .has_test = task_.test.has_value(),
                         .given = clock_.given(),
                         .run = options_.run};
        std::vector<Record> records;
        const auto keep = [&](const std::string& kind, const LabelledSet& rows, const std::vector<float>& said) {
            const ClassificationReport judged = classification_report(rows.classes, rows.labels, said);
            records.push_back(judged.record(kind, true));
            return judged;
        };
        if (task_.valid) {
            const auto said = what_says(folder_.root(), *task_.valid);
            if (!said) return false;
            const ClassificationReport valid = keep("valid", *task_.valid, *said);
            result.valid = ErrorRate{valid.n - valid.correct, valid.n};
        }
        if (task_.test) {
            const auto said = what_says(folder_.root(), *task_.test);
            if (!said) return false;
            result.judged = {*task_.test, *said, baselines_from(*record_.baselines),
                             texts_among(*task_.test, task_.train)};
            keep("test", *task_.test, *said);
        } else if (leader_ && record_.plan.classifier.folds_held > 0) {
            result.judged = held_out_rows();
            keep("cross-validation", result.judged.rows, result.judged.probabilities);
        }
        result.seconds = clock_.spent();
        if (leader_) write_down(result, records);
        return true;
    }

    void write_down(const FitResult& result, const std::vector<Record>& records) {
        const auto progress = read_checkpoint_info(resolve_checkpoint(options_.run), true).metadata.at("progress");
        const auto step = progress.at("step").get<std::uint64_t>();
        MetricsFile metrics(folder_.metrics(), step);
        for (const Record& record : records) {
            Record with_step;
            with_step["kind"] = record["kind"];
            with_step["step"] = step;
            with_step.update(record);
            metrics.write(with_step);
        }
        metrics.sync();
        write_file(folder_.report(), report_page(result));
        write_file(folder_.result(), report_record(result).dump() + "\n");
        record_.reported = true;
        record_.spent = result.seconds;
        record_.began = seconds_of(std::chrono::system_clock::now());
        remember();
        fmt::print(stderr, "\n{}", content_of(folder_.report()));
        print_line(report_record(result).dump());
    }

    int tell_again() const {
        if (!leader_) return 0;
        std::string record = content_of(folder_.result());
        while (record.ends_with('\n')) record.pop_back();
        fmt::print(stderr, "{} is complete; nothing to do\n\n{}", options_.run, content_of(folder_.report()));
        print_line(record);
        return 0;
    }

    const FitOptions& options_;
    const StopSignals& signals_;
    const Communicator& world_;
    const bool leader_;
    const FitFolder folder_;
    FitClock clock_;
    Interruption interruption_;
    const FitTask task_;
    const FitStages stages_;
    std::optional<FolderLock> lock_;
    FitRecord record_;
    LabelledSet rows_;  ///< that are learnt from
};

}  // namespace

int fit_command(std::span<const std::string> arguments, const Communicator& world) {
    FitOptions options;
    OptionTable table(
        "fit",
        "From labelled texts to a classifier, in the minutes given: plans stages 2 and 3 at this machine's "
        "speed, runs them, and ends in a report beside simple baselines.");
    options.declare(table);
    const StopSignals signals;
    if (!together(world, [&] { return table.parse(arguments); })) return 0;
    agree_on(world, "options", table.ini());
    return Fit(options, table, signals, world).run();
}

}  // namespace ulmpi
