#include "jobs/fit_members.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/files/publish.hpp"
#include "checkpoints/ensemble.hpp"
#include "checkpoints/slim.hpp"
#include "finetune/linear_fit.hpp"
#include "jobs/fit_pseudo_labels.hpp"
#include "jobs/fit_rows.hpp"
#include "jobs/fit_training.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

namespace fs = std::filesystem;

constexpr double spare_time = 1.25;  // times a network's, for one more than was planned

std::vector<Network> order_of(const FitState& fit) {
    return networks_in_order(fit.record.plan.classifier.folds, fit.task.test.has_value(), fit.recipe);
}

// The rows of a fold, or all others; all rows are others where there is no fold.
std::vector<std::uint32_t> places_of(const FitState& fit, std::uint32_t number, bool held_out) {
    const std::uint32_t folds = fit.record.plan.classifier.folds;
    std::vector<std::uint32_t> fold_of(fit.rows().size(), folds);
    if (number > 0) fold_of = stratified_folds(fit.rows().labels, fit.rows().classes.size(), folds, fit.options.seed);
    std::vector<std::uint32_t> places;
    for (std::uint32_t row = 0; row < fold_of.size(); ++row)
        if ((fold_of[row] + 1 == number) == held_out) places.push_back(row);
    return places;
}

std::string name_of_rows(const Network& network) {
    return network.fold > 0 ? fmt::format("without-{}", network.fold) : "train";
}

std::string file_of_rows(const FitState& fit, const Network& network) {
    if (network.fold == 0 && fit.rows().size() == fit.task.train.size()) return fit.options.train;
    return file_of(fit, rows_of(fit.rows(), places_of(fit, network.fold, false)), name_of_rows(network));
}

void forget_run(const FitState& fit, const Network& network) {
    std::error_code ignored;
    fs::remove_all(fit.folder.run(network), ignored);
    if (network.fold > 0) fs::remove(fit.folder.rows(name_of_rows(network)), ignored);
}

// The classifier has the words that the first of all rows has taught, or else those of the first fold; what the others
// are worth is told by every network without a fold.
bool gives_pseudo_labels(const ClassifierPlan& plan, const Network& network) {
    return plan.pseudo > 0 && network.member <= 1;
}

double training_seconds(const ClassifierPlan& plan, const Network& network) {
    return network.fold > 0 ? plan.fold_seconds : plan.member_seconds;
}

// That it must have: a fold gives pseudo-labels or is of no use, a network of all rows does well without.
double seconds_of(const ClassifierPlan& plan, const Network& network) {
    return training_seconds(plan, network) + (network.fold > 0 && plan.pseudo > 0 ? plan.pseudo_seconds : 0);
}

// That --test and --valid take with so many networks.
double judging_by(const ClassifierPlan& plan, std::uint32_t averaged) {
    return plan.judging * averaged / plan.averaged();
}

// Whether there is the time for a network, with which the plan would be `with`, `share` times.
bool fits(const FitState& fit, const Network& network, const ClassifierPlan& with, double share) {
    const ClassifierPlan& plan = fit.record.plan.classifier;
    return fit.clock.left() - judging_by(plan, with.averaged()) >= share * seconds_of(plan, network);
}

// The rows that a linear model beside the network learns from: all but those of its fold.
LabelledSet rows_for_words(const FitState& fit, const Network& network) {
    const std::vector<std::uint32_t> all = fit.places_for_words();
    std::vector<std::uint32_t> held_out, places;  // all ascend
    if (network.fold > 0)
        for (const std::uint32_t row : places_of(fit, network.fold, true)) held_out.push_back(fit.places()[row]);
    std::ranges::set_difference(all, held_out, std::back_inserter(places));
    return rows_of(fit.task.train, places);
}

bool time_for_pseudo_labels(FitState& fit) {
    const ClassifierPlan& plan = fit.record.plan.classifier;
    const std::uint64_t least = fit.recipe.least_pseudo_labels(fit.rows().size());
    return fit.unlabelled().size() >= least && fit.clock.left() >= plan.judging + plan.pseudo_seconds;
}

// Keeps the linear model that the network teaches, and what that says of the fold.
Outcome give_pseudo_labels(FitState& fit, const Network& network, bool first) {
    ClassifierPlan& plan = fit.record.plan.classifier;
    if (!gives_pseudo_labels(plan, network)) return Outcome::done;
    if (!time_for_pseudo_labels(fit)) {
        if (first) plan.pseudo = 0;
        fit.remember();
        return network.fold > 0 && !first ? Outcome::cut_short : Outcome::done;
    }
    const double before = fit.clock.spent();
    const auto words = words_taught_by(fit, fit.folder.run(network), rows_for_words(fit, network));
    if (!words) return Outcome::stopped;
    fit.record.pseudo_labels = fit.unlabelled().size();
    plan.pseudo_seconds = fit.clock.spent() - before;
    fit.remember();
    together(fit.world, [&] {
        if (!fit.leader) return;
        write_file(fit.folder.words_by(network), words->bytes());
        if (network.fold == 0) return;
        const LabelledSet held_out = rows_of(fit.rows(), places_of(fit, network.fold, true));
        const std::vector<float> said = words->log_probabilities(held_out.texts, fit.stages.threads());
        write_file(fit.folder.words_held_out_by(network), nlohmann::json(said).dump());
    });
    return Outcome::done;
}

// What one took says best what the others will.
void learn_speed(ClassifierPlan& plan, const Network& network, double seconds) {
    const double factor = seconds / training_seconds(plan, network);
    plan.fold_seconds *= factor;
    plan.member_seconds *= factor;
}

// The first is needed, whatever it takes, and left as it is where it takes too long.
Outcome train_network(FitState& fit, const Network& network, bool first) {
    ClassifierPlan& plan = fit.record.plan.classifier;
    if (fit.leader)
        fmt::print(stderr, "fit: {}\n",
                   network.fold > 0 ? fmt::format("a network without fold {}", network.fold)
                                    : fmt::format("network {} of all rows", network.member));
    const fs::path run = fit.folder.run(network);
    const bool goes_on = broadcast_value(fs::exists(run), fit.world, 0);
    const double before = fit.clock.spent(), own = training_seconds(plan, network);
    const double end = fit.clock.given() - plan.judging - (seconds_of(plan, network) - own);
    const std::uint64_t more_seed = network.member > 0 ? network.member - 1 : 0;
    Outcome how = train_classifier_in(fit, run, file_of_rows(fit, network),
                                      first ? std::max(end, before + 1.5 * own + 5) : end, more_seed);
    if (how == Outcome::stopped) return how;
    bool kept = how == Outcome::done || first;
    std::vector<float> said;
    if (kept && network.fold > 0) {
        auto judged = judgement_by(fit, run, rows_of(fit.rows(), places_of(fit, network.fold, true)));
        if (!judged) return Outcome::stopped;
        said = std::move(judged->probabilities);
    }
    if (how == Outcome::done && !goes_on) learn_speed(plan, network, fit.clock.spent() - before);
    if (kept) {
        const Outcome labels = give_pseudo_labels(fit, network, first);
        if (labels == Outcome::stopped) return labels;
        kept = labels == Outcome::done;
        if (!kept) how = labels;
    }
    together(fit.world, [&] {
        if (!fit.leader) return;
        if (kept) {
            write_slim_checkpoint(resolve_checkpoint(run), fit.folder.weights(network), ElementType::f32);
            write_file(fit.folder.held_out(network), nlohmann::json(said).dump());
        }
        forget_run(fit, network);
    });
    return how;
}

void write_model(const FitState& fit) {
    const ClassifierPlan& plan = fit.record.plan.classifier;
    std::vector<fs::path> members;
    for (std::uint32_t number = 1; number <= plan.members; ++number) members.push_back(fit.folder.weights({0, number}));
    if (members.empty()) members.push_back(fit.folder.weights({1, 0}));
    const HeldOutRows held_out = held_out_rows(fit);
    EnsembleMix mix{held_out.stack.network, held_out.stack.words};
    if (mix.words > 0) {
        const bool by_member = plan.members > 0 && fs::exists(fit.folder.words_by({0, 1}));
        const fs::path taught = fit.folder.words_by(by_member ? Network{0, 1} : Network{1, 0});
        const std::string words = content_of(held_out.pseudo_labels ? taught : fit.folder.words());
        mix.model_of_words.assign(words.begin(), words.end());
    }
    write_ensemble(members, mix, fit.folder.model(), best_precision(members));
}

}  // namespace

bool train_networks(FitState& fit) {
    if (!fit.record.classifier_planned) plan_classifier(fit);
    if (fit.record.classifier_done) return true;
    ClassifierPlan& plan = fit.record.plan.classifier;
    const std::vector<Network> order = order_of(fit);
    for (std::size_t n = 0; n < order.size(); ++n) {
        const Network& network = order[n];
        if (broadcast_value(fs::exists(fit.folder.held_out(network)), fit.world, 0)) continue;
        ClassifierPlan with = plan;
        take_networks(with, order, n + 1);
        const bool more = n >= plan.networks();  // what was planned went faster
        const bool begun = broadcast_value(fs::exists(fit.folder.run(network)), fit.world, 0);
        const bool begins = n == 0 || begun || fits(fit, network, with, more ? spare_time : 1);
        if (begins && more) {
            with.judging = judging_by(plan, with.averaged());
            plan = with;
            fit.remember();
        }
        if (!begins && more) break;
        const Outcome how = begins ? train_network(fit, network, n == 0) : Outcome::cut_short;
        if (how == Outcome::stopped) return false;
        if (how == Outcome::done) continue;
        if (fit.leader)
            fmt::print(stderr, "note: {}\n",
                       n == 0 ? "the network took longer than planned and is left as it is"
                              : "the time does for fewer networks than were planned");
        take_networks(plan, order, std::max<std::size_t>(1, n));
        fit.remember();
        break;
    }
    together(fit.world, [&] {
        if (fit.leader) write_model(fit);
    });
    fit.record.classifier_done = true;
    fit.remember();
    std::error_code ignored;
    for (const Network& network : order)
        for (const fs::path& file : {fit.folder.weights(network), fit.folder.words_by(network)})
            if (fit.leader) fs::remove(file, ignored);
    return true;
}

namespace {

std::vector<float> floats_of(const fs::path& file) {
    return nlohmann::json::parse(content_of(file)).get<std::vector<float>>();
}

void append(std::vector<float>& to, std::span<const float> more) { to.insert(to.end(), more.begin(), more.end()); }

}  // namespace

HeldOutRows held_out_rows(const FitState& fit) {
    HeldOutRows held_out;
    const ClassifierPlan& plan = fit.record.plan.classifier;
    const std::size_t classes = fit.rows().classes.size();
    const std::vector<float> words_of_all = fit.words_held_out();
    std::vector<std::uint32_t> rows;
    std::vector<float> network, words, taught;
    for (std::uint32_t number = 1; number <= plan.folds_held; ++number) {
        append(network, floats_of(fit.folder.held_out(Network{number, 0})));
        if (plan.pseudo > 0) append(taught, floats_of(fit.folder.words_held_out_by(Network{number, 0})));
        for (const std::uint32_t row : places_of(fit, number, true)) {
            append(words, std::span(words_of_all).subspan(row * classes, classes));
            rows.push_back(row);
        }
    }
    JudgedRows& judged = held_out.judged;
    judged.rows = rows_of(fit.rows(), rows);
    HeldOut all{judged.rows.labels, network, words, classes};
    held_out.stack = learn_stack(all);
    held_out.said_by_words = best_classes(words, classes);
    if (!taught.empty()) {
        const HeldOut with_taught{judged.rows.labels, network, taught, classes};
        const Stack stack = learn_stack(with_taught);
        held_out.pseudo_labels = stack_objective(stack, with_taught) < stack_objective(held_out.stack, all);
        if (held_out.pseudo_labels) {
            all = with_taught;
            held_out.stack = stack;
        }
    }
    judged.network = best_classes(network, classes);
    judged.probabilities = cross_fitted(all, fit.options.seed);
    if (fit.task.test) return held_out;  // whose rows are those that the baselines were asked about
    for (std::uint32_t& row : rows) row = fit.places()[row];
    judged.baselines = baselines_at(*fit.record.baselines, rows);
    return held_out;
}

std::optional<Judgement> judgement_by(FitState& fit, const fs::path& model, const LabelledSet& rows) {
    const StoredModel stored = open_model(model.string(), fit.world);
    const StoredClassifier classifier = together(fit.world, [&] { return classifier_from(stored); });
    return Judge(stored, classifier, fit.stages.layout(), rows.size(), fit.world).ask(rows, [&] {
        return fit.stopped();
    });
}

}  // namespace ulmpi
