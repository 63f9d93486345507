#include "finetune/fit_state.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "finetune/fit_baselines.hpp"
#include "finetune/fit_rows.hpp"
#include "finetune/fit_speed.hpp"
#include "parallel/progress.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

// A linear model is tried on no more rows than this; of more rows it takes longer by more than their number.
constexpr std::size_t most_rows_tried = 1000, most_tokens_tried = 100000;
constexpr double longer_than_tried = 1.5;

std::vector<std::uint32_t> places_to_try(const LabelledSet& train, std::uint64_t seed) {
    const std::size_t tokens = std::max<std::size_t>(1, train.tokens.size() / train.size());
    const std::size_t rows = std::max(2 * train.classes.size(), std::min(most_rows_tried, most_tokens_tried / tokens));
    return stratified_sample(train.labels, train.classes.size(), rows, seed);
}

}  // namespace

FitState::FitState(const FitOptions& asked, const OptionTable& table, const StopSignals& stop_signals,
                   const Communicator& ranks)
    : options(asked),
      signals(stop_signals),
      world(ranks),
      leader(ranks.rank() == 0),
      folder(asked.run),
      clock(60 * asked.minutes, asked.walltime, stop_signals, ranks),
      interruption(stop_signals, clock.end_of_job(), ranks),
      task(read_fit_task(asked, ranks)),
      stages(asked, table, ranks) {
    const std::string found = together(world, [&] {
        if (!leader) return std::string();
        const std::optional<FitRecord> begun = folder.begun(task.asked);
        return begun ? to_json(*begun).dump() : std::string();
    });
    if (const std::string begun = broadcast_text(found, world, 0); !begun.empty()) {
        record = fit_record_from(nlohmann::json::parse(begun));
        clock.add(record.spent);
    } else {
        plan();
    }
    use_planned_rows();
    together(world, [&] {
        if (!leader) return;
        lock_.emplace(folder.create());
        record.began = seconds_of(signals.since());
        if (!record.reported) remember();
    });
}

void FitState::plan() {
    record.asked = task.asked;
    record.speed = measure_speed(task, stages, seconds_to_measure(clock.given()), world);
    const std::vector<std::uint32_t> few = places_to_try(task.train, options.seed);
    const double before = clock.spent();
    const std::vector<Baseline> tried = compare_with(few);
    if (few.size() == task.train.size())
        record.baselines = to_json(tried);
    else
        record.speed.linear =
            longer_than_tried * (clock.spent() - before) / static_cast<double>(rows_of(task.train, few).tokens.size());
    const double spent = clock.spent();
    record.plan = together(world, [&] { return plan_fit(task.facts, record.speed, clock.given() - spent, spent); });
    if (!leader) return;
    fmt::print(stderr, "fit: {} are given; this machine makes {} of stage 2 and {} of stage 3, in {}. The plan:\n{}",
               format_duration(clock.given()), format_rate(record.speed.text, "tokens"),
               format_rate(record.speed.classifier, "tokens"), stages.layout().precision,
               description(record.plan, task.facts));
}

void FitState::plan_again(FitFacts facts) {
    facts = facts_with(facts, rows_);
    const double spent = clock.spent();
    record.plan = plan_rest(facts, record.speed, clock.given() - spent, spent);
    use_planned_rows();
    remember();
}

void FitState::use_planned_rows() {
    places_ =
        stratified_sample(task.train.labels, task.train.classes.size(), record.plan.classifier.rows, options.seed);
    rows_ = rows_of(task.train, places_);
}

void FitState::remember() const {
    if (leader) folder.write(record);
}

std::vector<Baseline> FitState::compare_with(const std::vector<std::uint32_t>& places) const {
    std::vector<Baseline> all = baselines(rows_of(task.train, places), task.test ? &*task.test : nullptr, options.seed,
                                          stages.threads(), world);
    if (task.test) return all;
    for (Baseline& baseline : all) {
        std::vector<std::int32_t> said(task.train.size(), -1);
        for (std::size_t i = 0; i < places.size(); ++i) said[places[i]] = baseline.said[i];
        baseline.said = std::move(said);
    }
    return all;
}

}  // namespace ulmpi
