#include "finetune/fit_pseudo_labels.hpp"

#include <fmt/format.h>

#include "finetune/classification_report.hpp"
#include "finetune/fit_members.hpp"

namespace ulmpi {
namespace {

// The variance of a weight; 3 to 100 are alike (docs/LOG.md).
constexpr double strength = 10;

}  // namespace

std::optional<LinearModel> words_taught_by(FitState& fit, const std::filesystem::path& run, const LabelledSet& rows) {
    const LabelledSet& texts = fit.unlabelled();
    if (fit.leader) fmt::print(stderr, "fit: pseudo-labels for {} texts of --text\n", texts.size());
    const auto said = judgement_by(fit, run, texts);
    if (!said) return std::nullopt;
    std::vector<std::string> all = rows.texts;
    all.insert(all.end(), texts.texts.begin(), texts.texts.end());
    std::vector<std::int32_t> labels = rows.labels;
    const std::vector<std::int32_t> likeliest = best_classes(said->probabilities, rows.classes.size());
    labels.insert(labels.end(), likeliest.begin(), likeliest.end());
    return fit_linear_of(strength, all, labels, rows.classes.size(), {.threads = fit.stages.threads()}, fit.world);
}

}  // namespace ulmpi
