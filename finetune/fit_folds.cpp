#include "finetune/fit_folds.hpp"

#include <fmt/format.h>

#include <fstream>

#include "data/publish.hpp"
#include "finetune/fit_baselines.hpp"
#include "finetune/fit_rows.hpp"
#include "finetune/fit_training.hpp"
#include "finetune/linear_fit.hpp"

namespace ulmpi {
namespace {

namespace fs = std::filesystem;

// Of each row in use the fold that it is held out with, counted from 1.
std::vector<std::uint32_t> folds_of(const FitState& fit) {
    std::vector<std::uint32_t> folds = stratified_folds(fit.rows().labels, fit.rows().classes.size(),
                                                        fit.record.plan.classifier.folds, fit.options.seed);
    for (std::uint32_t& fold : folds) ++fold;
    return folds;
}

LabelledSet part(const FitState& fit, std::uint32_t number, bool held_out) {
    const std::vector<std::uint32_t> folds = folds_of(fit);
    std::vector<std::uint32_t> rows;
    for (std::uint32_t row = 0; row < folds.size(); ++row)
        if ((folds[row] == number) == held_out) rows.push_back(row);
    return rows_of(fit.rows(), rows);
}

Outcome hold_out(FitState& fit, std::uint32_t number) {
    const ClassifierPlan& plan = fit.record.plan.classifier;
    if (fit.leader) fmt::print(stderr, "fit: fold {} of {} is held out\n", number, plan.folds_held);
    const fs::path run = fit.folder.fold(number);
    const std::string others = fmt::format("without-{}", number);
    const Outcome how =
        train_classifier_in(fit, run, file_of(fit, part(fit, number, false), others), plan.fold_seconds);
    if (how != Outcome::done) return how;
    const auto said = probabilities_by(fit, run, part(fit, number, true));
    if (!said) return Outcome::stopped;
    if (fit.leader) {
        write_file(fit.folder.held_out(number), nlohmann::json(*said).dump());
        fs::remove_all(run);
        fs::remove(fit.folder.rows(others));
    }
    fit.world.barrier();
    return Outcome::done;
}

}  // namespace

bool hold_folds_out(FitState& fit) {
    ClassifierPlan& plan = fit.record.plan.classifier;
    for (std::uint32_t number = 1; number <= plan.folds_held; ++number) {
        if (broadcast_value(fs::exists(fit.folder.held_out(number)), fit.world, 0)) continue;
        const Outcome how = fit.clock.left() < plan.fold_seconds ? Outcome::cut_short : hold_out(fit, number);
        if (how == Outcome::stopped) return false;
        if (how == Outcome::done) continue;
        if (fit.leader)
            fmt::print(stderr, "note: the time does for {} of the {} folds that were planned\n", number - 1,
                       plan.folds_held);
        plan.folds_held = number - 1;
        fit.remember();
    }
    return true;
}

JudgedRows held_out_rows(const FitState& fit) {
    JudgedRows judged;
    const std::vector<std::uint32_t> folds = folds_of(fit);
    std::vector<std::uint32_t> rows;
    for (std::uint32_t number = 1; number <= fit.record.plan.classifier.folds_held; ++number) {
        for (std::uint32_t row = 0; row < folds.size(); ++row)
            if (folds[row] == number) rows.push_back(row);
        std::ifstream file(fit.folder.held_out(number), std::ios::binary);
        const auto said = nlohmann::json::parse(file).get<std::vector<float>>();
        judged.probabilities.insert(judged.probabilities.end(), said.begin(), said.end());
    }
    judged.rows = rows_of(fit.rows(), rows);
    for (const Baseline& baseline : baselines_from(*fit.record.baselines)) {
        judged.baselines.push_back({baseline.key, baseline.name, {}});
        for (const std::uint32_t row : rows) judged.baselines.back().said.push_back(baseline.said[fit.places()[row]]);
    }
    return judged;
}

}  // namespace ulmpi
