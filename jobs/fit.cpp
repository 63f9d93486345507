#include "jobs/fit.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/files/publish.hpp"
#include "checkpoints/run_record.hpp"
#include "data/shared_runs.hpp"
#include "jobs/fit_baselines.hpp"
#include "jobs/fit_members.hpp"
#include "jobs/fit_rows.hpp"
#include "jobs/fit_training.hpp"
#include "parallel/run_main.hpp"
#include "training/trainer.hpp"

namespace ulmpi {
namespace {

// The linear model, whose time has been planned; false: the fit was stopped.
bool compare(FitState& fit) {
    if (!fit.record.baselines) {
        fit.compare();
        fit.plan_again(fit.task.facts);
    }
    return !fit.stopped();
}

/// How a fit is reported, for people and for programs; the final classifier's records come last in its metrics.
class Report {
public:
    explicit Report(FitState& fit)
        : fit_(fit),
          result_{.plan = fit.record.plan,
                  .all_rows = fit.task.train.size(),
                  .words_rows = fit.record.words_rows,
                  .has_test = fit.task.test.has_value(),
                  .test_left_out = fit.task.test_left_out,
                  .given = fit.clock.given(),
                  .run = fit.options.run} {}

    /// False: the fit was stopped.
    bool make() {
        if (fit_.leader) look_at_held_out_rows();
        if (fit_.task.valid) {
            const LabelledSet rows = rows_of(*fit_.task.valid, fit_.judged_places(*fit_.task.valid));
            const auto said = judgement_by(fit_, fit_.folder.model(), rows);
            if (!said) return false;
            const ClassificationReport valid = add("valid", rows, said->probabilities);
            result_.all_valid_rows = fit_.task.valid->size();
            result_.valid = ErrorRate{valid.n - valid.correct, valid.n};
        }
        if (fit_.task.test) {
            const std::vector<std::uint32_t> places = fit_.judged_places(*fit_.task.test);
            LabelledSet rows = rows_of(*fit_.task.test, places);
            const auto said = judgement_by(fit_, fit_.folder.model(), rows);
            if (!said) return false;
            add("test", rows, said->probabilities);
            if (fit_.leader) look_for_shared_runs(rows);
            const std::vector<std::int32_t> by_network = best_classes(said->network, rows.classes.size());
            const std::vector<bool> known = texts_among(rows, fit_.task.train);
            result_.all_test_rows = fit_.task.test->size();
            result_.judged = {std::move(rows), said->probabilities, baselines_at(*fit_.record.baselines, places),
                              by_network, known};
        }
        result_.seconds = fit_.clock.spent();
        if (fit_.leader) write();
        return true;
    }

    static void tell(const FitState& fit) {
        std::string record = content_of(fit.folder.result());
        while (record.ends_with('\n')) record.pop_back();
        fmt::print(stderr, "\n{}", content_of(fit.folder.report()));
        print_line(record);
    }

private:
    ClassificationReport add(const std::string& kind, const LabelledSet& rows, const std::vector<float>& said) {
        const ClassificationReport report = classification_report(rows.classes, rows.labels, said);
        records_.push_back(report.record(kind, true));
        return report;
    }

    // Without --test they are what the classifier is judged by.
    void look_at_held_out_rows() {
        HeldOutRows held_out = held_out_rows(fit_);
        JudgedRows& judged = held_out.judged;
        const std::vector<std::int32_t>& labels = judged.rows.labels;
        result_.stack = held_out.stack;
        if (held_out.pseudo_labels) result_.pseudo_labels = fit_.record.pseudo_labels;
        result_.held_out = {error_of(labels, judged.network), error_of(labels, held_out.said_by_words),
                            error_of(labels, best_classes(judged.probabilities, judged.rows.classes.size()))};
        if (fit_.task.test || labels.empty()) return;
        result_.judged = std::move(judged);
        add("cross-validation", result_.judged.rows, result_.judged.probabilities);
    }

    void look_for_shared_runs(const LabelledSet& test) {
        SharedRuns with_rows(test.texts);
        for (const std::string& text : fit_.task.train.texts) with_rows.read(text);
        result_.share_with_rows = with_rows.count();
        if (fit_.options.text.empty()) return;
        SharedRuns with_text(test.texts);
        TextReader reader({fit_.options.text.begin(), fit_.options.text.end()}, fit_.options.reading());
        for (std::string document; reader.append_document(document); document.clear()) with_text.read(document);
        result_.share_with_text = with_text.count();
    }

    void write() {
        std::uint64_t step = 0;  // of all members together
        const RunRecord made = record_of(fit_.folder.model(), read_checkpoint_info(fit_.folder.model(), true));
        for (const EnsembleRecord::Member& member : made.ensemble.value().of) step += member.step.value_or(0);
        MetricsFile metrics(fit_.folder.metrics(), step);
        for (const Record& record : records_) {
            Record with_step;
            with_step["kind"] = record["kind"];
            with_step["step"] = step;
            with_step.update(record);
            metrics.write(with_step);
        }
        metrics.sync();
        write_file(fit_.folder.report(), report_page(result_));
        write_file(fit_.folder.result(), report_record(result_).dump() + "\n");
        fit_.record.reported = true;
        fit_.record.spent = result_.seconds;
        fit_.record.began = seconds_of(std::chrono::system_clock::now());
        fit_.remember();
    }

    FitState& fit_;
    FitResult result_;
    std::vector<Record> records_;
};

}  // namespace

int fit_command(std::span<const std::string> arguments, const Communicator& world) {
    FitOptions options;
    OptionTable table(
        "fit",
        "From labelled texts to a classifier, in the minutes given: plans stages 2 and 3 at this machine's speed, runs "
        "them, and ends in a report beside a linear model and the commonest class.");
    options.declare(table);
    const StopSignals signals;
    if (!together(world, [&] { return table.parse(arguments); })) return 0;
    agree_on(world, "options", table.ini());
    for (const char* name : {"documents", "text-key"})
        if (options.text.empty() && table.given(name))
            table.refuse(name, "says how --text is read: give --text, or leave this out");
    if (options.text.empty() && table.given("pseudo-labels"))
        table.refuse("pseudo-labels", "are those of --text: give --text, or leave this out");
    if (!options.stage_2 && !options.pseudo_labels && !options.text.empty())
        table.refuse("text", "is for stage 2 and for pseudo-labels, and both are off: leave it out");
    FitState fit(options, table, signals, world);
    const bool again = fit.record.reported;
    if (again && fit.leader)
        fmt::print(stderr, "{} is complete; nothing to do (for other minutes give another --run)\n", options.run);
    if (again || (compare(fit) && train_on_text(fit) && train_networks(fit) && Report(fit).make())) {
        if (fit.leader) Report::tell(fit);
        return 0;
    }
    if (fit.leader)
        fmt::print(stderr, "fit: stopped by {}; the same command goes on from there\n", fit.interruption.reason());
    return stopped_early;
}

}  // namespace ulmpi
