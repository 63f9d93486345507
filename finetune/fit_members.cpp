#include "finetune/fit_members.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "checkpoints/ensemble.hpp"
#include "checkpoints/slim.hpp"
#include "data/publish.hpp"
#include "finetune/fit_rows.hpp"
#include "finetune/fit_training.hpp"
#include "finetune/linear_fit.hpp"
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

double seconds_of(const ClassifierPlan& plan, const Network& network) {
    return network.fold > 0 ? plan.fold_seconds : plan.member_seconds;
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

// The first is needed, whatever it takes, and left as it is where it takes too long.
Outcome train_network(FitState& fit, const Network& network, bool first) {
    const ClassifierPlan& plan = fit.record.plan.classifier;
    if (fit.leader)
        fmt::print(stderr, "fit: {}\n",
                   network.fold > 0 ? fmt::format("a network without fold {}", network.fold)
                                    : fmt::format("network {} of all rows", network.member));
    const fs::path run = fit.folder.run(network);
    const double end = fit.clock.given() - plan.judging;
    const double until = first ? std::max(end, fit.clock.spent() + 1.5 * seconds_of(plan, network) + 5) : end;
    const std::uint64_t more_seed = network.member > 0 ? network.member - 1 : 0;
    const Outcome how = train_classifier_in(fit, run, file_of_rows(fit, network), until, more_seed);
    if (how == Outcome::stopped) return how;
    if (how == Outcome::cut_short && !first) {
        if (fit.leader) forget_run(fit, network);
        return how;
    }
    std::vector<float> said;
    if (network.fold > 0) {
        auto judged = judgement_by(fit, run, rows_of(fit.rows(), places_of(fit, network.fold, true)));
        if (!judged) return Outcome::stopped;
        said = std::move(judged->probabilities);
    }
    together(fit.world, [&] {
        if (!fit.leader) return;
        write_slim_checkpoint(resolve_checkpoint(run), fit.folder.weights(network), ElementType::f32);
        write_file(fit.folder.held_out(network), nlohmann::json(said).dump());
        forget_run(fit, network);
    });
    return how;
}

void write_model(const FitState& fit) {
    const ClassifierPlan& plan = fit.record.plan.classifier;
    std::vector<fs::path> members;
    for (std::uint32_t number = 1; number <= plan.members; ++number) members.push_back(fit.folder.weights({0, number}));
    if (members.empty()) members.push_back(fit.folder.weights({1, 0}));
    const Stack stack = held_out_rows(fit).stack;
    EnsembleMix mix{stack.network, stack.words};
    if (const std::string words = content_of(fit.folder.words()); stack.words > 0)
        mix.model_of_words.assign(words.begin(), words.end());
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
        const bool begins = n == 0 || fits(fit, network, with, more ? spare_time : 1);
        if (begins && more) {
            with.judging = judging_by(plan, with.averaged());
            plan = with;
            fit.remember();
        }
        if (!begins && more) break;
        const bool goes_on = broadcast_value(fs::exists(fit.folder.run(network)), fit.world, 0);
        const double before = fit.clock.spent();
        const Outcome how = begins ? train_network(fit, network, n == 0) : Outcome::cut_short;
        if (how == Outcome::stopped) return false;
        if (how == Outcome::done) {
            if (goes_on) continue;
            // What one took says best what the others will.
            const double factor = (fit.clock.spent() - before) / seconds_of(plan, network);
            plan.fold_seconds *= factor;
            plan.member_seconds *= factor;
            continue;
        }
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
        if (fit.leader) fs::remove(fit.folder.weights(network), ignored);
    return true;
}

HeldOutRows held_out_rows(const FitState& fit) {
    HeldOutRows held_out;
    const std::size_t classes = fit.rows().classes.size();
    const std::vector<float> words_of_all = fit.words_held_out();
    std::vector<std::uint32_t> rows;
    std::vector<float> network, words;
    for (std::uint32_t number = 1; number <= fit.record.plan.classifier.folds_held; ++number) {
        const auto said =
            nlohmann::json::parse(content_of(fit.folder.held_out(Network{number, 0}))).get<std::vector<float>>();
        network.insert(network.end(), said.begin(), said.end());
        for (const std::uint32_t row : places_of(fit, number, true)) rows.push_back(row);
    }
    for (const std::uint32_t row : rows) {
        const std::span<const float> said = std::span(words_of_all).subspan(row * classes, classes);
        words.insert(words.end(), said.begin(), said.end());
    }
    JudgedRows& judged = held_out.judged;
    judged.rows = rows_of(fit.rows(), rows);
    const HeldOut all{judged.rows.labels, network, words, classes};
    held_out.stack = learn_stack(all);
    held_out.said_by_words = best_classes(words, classes);
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
