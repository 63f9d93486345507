#include "jobs/fit_training.hpp"

#include <fmt/format.h>

#include "base/files/publish.hpp"
#include "base/progress.hpp"
#include "data/shard_writer.hpp"
#include "finetune/classifier.hpp"
#include "jobs/fit_rows.hpp"
#include "jobs/fit_speed.hpp"
#include "parallel/run_main.hpp"
#include "pretrain/language_model.hpp"

namespace ulmpi {
namespace {

namespace fs = std::filesystem;

Outcome outcome(FitState& fit, int status, const FitClock::Limit& limit) {
    if (status != stopped_early) return Outcome::done;
    return limit.of_job || fit.stopped() ? Outcome::stopped : Outcome::cut_short;
}

void make_shards(const FitState& fit) {
    together(fit.world, [&] {
        if (!fit.leader || fs::exists(fit.folder.shards())) return;
        std::vector<std::string> files = fit.options.text;
        TextOptions reading = fit.options.reading();
        if (files.empty()) {
            std::string lines;
            for (const std::string& text : fit.task.train.texts) lines += text + "\n";
            files = {(fit.folder.text() / "train.txt").string()};
            write_file(files[0], lines);
            reading = {.format = TextFormat::plain};
        }
        TextReader reader({files.begin(), files.end()}, reading);
        ShardOptions options;
        if (const TextPlan& plan = fit.record.plan.text; plan.tokens < fit.task.facts.text_tokens)
            options.takes = evenly(static_cast<double>(plan.tokens) / static_cast<double>(fit.task.facts.text_tokens));
        ProgressLine progress("writing shards", "bytes", reader.bytes_total(), true);
        write_shards(fit.task.model.tokenizer, reader, fit.folder.shards(), options,
                     [&](std::uint64_t bytes, std::uint64_t) { progress.update(bytes); });
    });
}

}  // namespace

bool train_on_text(FitState& fit) {
    const TextPlan& plan = fit.record.plan.text;
    if (fit.record.text_done || plan.read == 0) return true;
    make_shards(fit);
    if (fit.stopped()) return false;
    const FitClock::Limit limit = fit.clock.limit(plan.latest);
    const LanguageModelRequest asked =
        fit.stages.language_model(plan, fit.folder.shards(), fit.folder.language_model(), limit.walltime);
    const Outcome how = outcome(fit, train_language_model(asked, fit.signals, fit.world), limit);
    if (how == Outcome::stopped) return false;
    if (how == Outcome::cut_short && fit.leader)
        fmt::print(stderr, "note: stage 2 took longer than planned and ends here, so that stage 3 has its time\n");
    fit.record.text_done = true;
    fit.remember();
    return true;
}

Outcome train_classifier_in(FitState& fit, const fs::path& run, const std::string& rows, double until,
                            std::uint64_t more_seed) {
    const ClassifierPlan& plan = fit.record.plan.classifier;
    const std::string begins =
        fit.record.plan.text.read > 0 ? fit.folder.language_model().string() : fit.options.init_from;
    const FitClock::Limit limit = fit.clock.limit(until);
    const ClassifierRequest asked = fit.stages.classifier(plan, begins, rows, run, limit.walltime, more_seed);
    return outcome(fit, train_classifier(asked, fit.signals, fit.world), limit);
}

void plan_classifier(FitState& fit) {
    fit.record.speed.classifier =
        measure_classifier(fit.task, fit.rows(), fit.stages, seconds_to_measure(fit.clock.given()), fit.world);
    FitFacts facts = fit.task.facts;
    facts.text_tokens = 0;  // done
    const TextPlan text = fit.record.plan.text;
    fit.plan_again(facts);
    fit.record.plan.text = text;
    fit.record.classifier_planned = true;
    fit.remember();
    if (fit.leader)
        fmt::print(stderr, "fit: the plan for the rest of the time:\n{}",
                   description({{}, fit.record.plan.classifier}, facts));
}

std::string file_of(const FitState& fit, const LabelledSet& rows, const std::string& name) {
    const fs::path file = fit.folder.rows(name);
    if (fit.leader && !fs::exists(file)) save_labelled_set(file, rows, fit.task.model.tokenizer);
    fit.world.barrier();
    return file.string();
}

}  // namespace ulmpi
