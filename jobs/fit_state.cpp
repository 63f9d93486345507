#include "jobs/fit_state.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/files/publish.hpp"
#include "base/progress.hpp"
#include "base/quoted.hpp"
#include "jobs/fit_pseudo_labels.hpp"
#include "jobs/fit_rows.hpp"
#include "jobs/fit_speed.hpp"
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
      recipe(asked.recipe()),
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
        if (compared_) write_words(compared_->words);
        record.began = seconds_of(signals.since());
        if (!record.reported) remember();
    });
    compared_.reset();
}

void FitState::plan() {
    record.asked = task.asked;
    if (leader) fmt::print(stderr, "fit: measuring this machine's speed\n");
    record.speed = measure_speed(task, stages, seconds_to_measure(clock.given()), world);
    const std::vector<std::uint32_t> few = places_to_try(task.train, options.seed);
    const bool all = few.size() == task.train.size();
    Compared tried = compare_with(few, all ? pieces_seconds() : 0);
    record.speed.linear =
        longer_than_tried * tried.seconds / static_cast<double>(rows_of(task.train, few).tokens.size());
    if (task.facts.unlabelled > 0)
        record.speed.linear_once = longer_than_tried * seconds_of_one_model(rows_of(task.train, few));
    if (all) {
        take(tried, few.size());
        compared_ = std::move(tried);
    }
    const double spent = clock.spent();
    record.plan =
        together(world, [&] { return plan_fit(task.facts, record.speed, clock.given() - spent, spent, recipe); });
    if (!leader) return;
    fmt::print(stderr, "fit: {} are given; this machine makes {} of stage 2 and {} of stage 3, in {}. The plan:\n{}",
               format_duration(clock.given()), format_rate(record.speed.text, "tokens"),
               format_rate(record.speed.classifier, "tokens"), stages.layout().precision,
               description(record.plan, task.facts));
}

std::vector<std::uint32_t> FitState::words_places(std::uint64_t rows) const {
    return stratified_sample(task.train.labels, task.train.classes.size(), rows, options.seed);
}

// The words that are known are of so many rows: the networks learn from no others.
void FitState::plan_again(FitFacts facts) {
    facts = facts_with(facts, rows_of(task.train, words_places(record.words_rows)));
    const double spent = clock.spent();
    record.plan = plan_rest(facts, record.speed, clock.given() - spent, spent, recipe);
    use_planned_rows();
    remember();
}

void FitState::use_planned_rows() {
    places_ =
        stratified_sample(task.train.labels, task.train.classes.size(), record.plan.classifier.rows, options.seed);
    rows_ = rows_of(task.train, places_);
}

double FitState::seconds_of_one_model(const LabelledSet& rows) const {
    const auto begin = std::chrono::steady_clock::now();
    fit_linear_of(1, rows.texts, rows.labels, rows.classes.size(), {.threads = stages.threads()}, world);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return broadcast_value(seconds / static_cast<double>(rows.tokens.size()), world, 0);
}

std::vector<std::uint32_t> FitState::judged_places(const LabelledSet& set) const {
    const auto share =
        static_cast<std::uint64_t>(std::ceil(record.plan.classifier.judged * static_cast<double>(set.size())));
    return random_sample(set.size(), std::max(share, recipe.least_judged), options.seed);
}

std::vector<std::uint32_t> FitState::places_for_words() const { return words_places(record.words_rows); }

const LabelledSet& FitState::unlabelled() {
    if (!unlabelled_) unlabelled_ = unlabelled_texts(task, options, record.plan.classifier.pseudo, world);
    return *unlabelled_;
}

void FitState::remember() const {
    if (leader) folder.write(record);
}

Compared FitState::compare_with(const std::vector<std::uint32_t>& places, double pieces) const {
    Compared all = ulmpi::compare(rows_of(task.train, places), task.test ? &*task.test : nullptr, options.seed,
                                  stages.threads(), pieces, world);
    if (task.test) return all;
    for (Baseline& baseline : all.baselines) {
        std::vector<std::int32_t> said(task.train.size(), -1);
        for (std::size_t i = 0; i < places.size(); ++i) said[places[i]] = baseline.said[i];
        baseline.said = std::move(said);
    }
    return all;
}

void FitState::take(const Compared& compared, std::size_t rows) {
    record.baselines = to_json(compared.baselines);
    record.words_rows = rows;
    record.speed.linear = 0;
}

void FitState::write_words(const LinearFit& words) const {
    write_file(folder.words(), words.model.bytes());
    const auto* bytes = reinterpret_cast<const char*>(words.held_out.data());
    write_file(folder.words_held_out(), {bytes, words.held_out.size() * sizeof(float)});
}

void FitState::compare() {
    const std::vector<std::uint32_t> places = words_places(record.plan.classifier.words_rows);
    const Compared compared = compare_with(places, pieces_seconds());
    together(world, [&] {
        if (leader) write_words(compared.words);
    });
    take(compared, places.size());
}

std::vector<float> FitState::words_held_out() const {
    const std::string bytes = content_of(folder.words_held_out());
    std::vector<float> all(bytes.size() / sizeof(float));
    std::copy(bytes.begin(), bytes.end(), reinterpret_cast<char*>(all.data()));
    const std::size_t classes = task.train.classes.size();
    check(all.size() == record.words_rows * classes, "{} was changed: start another --run",
          quoted(folder.words_held_out()));
    const std::vector<std::uint32_t> fitted = words_places(record.words_rows);
    std::vector<float> of_rows;
    for (const std::uint32_t place : places_) {
        const auto at = std::ranges::lower_bound(fitted, place) - fitted.begin();
        const auto first = all.begin() + at * static_cast<std::ptrdiff_t>(classes);
        of_rows.insert(of_rows.end(), first, first + static_cast<std::ptrdiff_t>(classes));
    }
    return of_rows;
}

}  // namespace ulmpi
