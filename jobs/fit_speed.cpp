#include "jobs/fit_speed.hpp"

#include <algorithm>
#include <chrono>

#include "finetune/classifier_task.hpp"
#include "parallel/run_main.hpp"
#include "training/step_timing.hpp"

namespace ulmpi {
namespace {

// Forward alone is a third of the work of an update; 3.6 to 4 times as fast were measured.
constexpr double predictions_of_training = 3;

Facts facts_for(const FitTask& task, const Communicator& world) {
    Facts facts{.ranks = world.size(), .threads = find_cores(world).threads};
    facts.source = facts_of(task.model.path.string(), task.model.info);
    facts.tokenizer = facts_of(task.model.tokenizer);
    return facts;
}

struct Measured {
    double rate = 0;     // tokens a second after the first update, which is slower
    double seconds = 0;  // of all updates
};

Measured speed_of(RankModel& model, const std::function<StepPlan(std::uint64_t)>& plan, double seconds) {
    const auto begin = std::chrono::steady_clock::now();
    time_steps(model, plan, 0, [](const StepTimes&) { return true; });
    const StepTimes times =
        time_steps(model, plan, 1, [&](const StepTimes& so_far) { return so_far.total() >= seconds; });
    return {broadcast_value(static_cast<double>(times.tokens) / times.total(), model.topology.all, 0),
            std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()};
}

Measured text_speed(const FitTask& task, const FitStages& stages, double seconds, const Communicator& world) {
    Facts facts = facts_for(task, world);
    TextPlan plan{.read = std::uint64_t{1} << 40, .batch = std::max(FitRecipe{}.least_text_batch, task.facts.replicas)};
    facts.shards["data"] = {"", plan.read >> 4, *facts.tokenizer};  // read often: with dropout, which is slower
    const LanguageModelSpec spec =
        together(world, [&] { return resolve(stages.language_model(plan, "-", "-", "none"), facts); });
    RankModel model(world, spec.layout, spec.model, spec.head, spec.pass, spec.training.adamw);
    model.store.initialize(spec.training.seed);
    return speed_of(
        model, [&](std::uint64_t step) { return random_text(model, step, plan.batch, spec.pass.sequences); }, seconds);
}

Measured classifier_speed(const FitTask& task, const LabelledSet& train, const FitStages& stages, double seconds,
                          const Communicator& world) {
    Facts facts = facts_for(task, world);
    facts.sets["train"] = facts_of(train);
    const FitFacts of_rows = facts_with(task.facts, train);
    ClassifierPlan plan = plan_rest(of_rows, {}, 1e18, 0).classifier;
    plan.epochs = 100000;  // as many as are measured
    const ClassifierSpec spec =
        together(world, [&] { return resolve(stages.classifier(plan, "-", "-", "-", "none"), facts); });
    RankModel model(world, spec.layout, spec.model, spec.head, spec.pass, spec.training.adamw);
    model.store.initialize(spec.training.seed);
    const ClassifierTask classifier(model, train, nullptr, nullptr, spec.training, spec.classifier);
    return speed_of(
        model, [&](std::uint64_t step) { return classifier.plan(step); }, seconds);
}

}  // namespace

double seconds_to_measure(double given) { return std::clamp(0.005 * given, 0.3, 3.0); }

double measure_classifier(const FitTask& task, const LabelledSet& train, const FitStages& stages, double seconds,
                          const Communicator& world) {
    return classifier_speed(task, train, stages, seconds, world).rate;
}

FitSpeed measure_speed(const FitTask& task, const FitStages& stages, double seconds, const Communicator& world) {
    const auto begin = std::chrono::steady_clock::now();
    FitSpeed speed;
    const Measured classifier = classifier_speed(task, task.train, stages, seconds, world);
    // Of a text that is left out nothing is asked.
    const bool reads_text = task.facts.has_text(FitRecipe{});
    const Measured text = reads_text ? text_speed(task, stages, seconds, world) : Measured{classifier.rate, 0};
    speed.text = text.rate;
    speed.classifier = classifier.rate;
    speed.prediction = predictions_of_training * speed.classifier;
    speed.encoding = task.encoding;
    // A run makes and loads its model, as was done here for each that was measured, and saves weights and moments.
    const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    const double moments = 3 * sizeof(float) * static_cast<double>(task.model.info.parameters());
    speed.run = broadcast_value(std::max(0.2, (took - classifier.seconds - text.seconds) / (reads_text ? 2 : 1)) +
                                    guessed_save_seconds(moments),
                                world, 0);
    return speed;
}

}  // namespace ulmpi
