#include "jobs/fit_pseudo_labels.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <string>
#include <unordered_set>

#include "data/shared_runs.hpp"
#include "finetune/classification_report.hpp"
#include "jobs/fit_members.hpp"
#include "jobs/fit_rows.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

// The variance of a weight; 3 to 100 are alike (docs/LOG.md).
constexpr double strength = 10;

}  // namespace

LabelledSet unlabelled_texts(const FitTask& task, const FitOptions& options, std::uint64_t count,
                             const Communicator& world) {
    LabelledSet set = together(world, [&] {
        if (world.rank() != 0) return LabelledSet{};
        // Texts may be many: of each its hash.
        const auto mark = [](const std::string& text) { return std::hash<std::u32string>()(letters_and_digits(text)); };
        std::unordered_set<std::size_t> known{mark("")};
        for (const LabelledSet* labelled :
             {&task.train, task.test ? &*task.test : nullptr, task.valid ? &*task.valid : nullptr})
            for (std::size_t row = 0; labelled != nullptr && row < labelled->size(); ++row)
                known.insert(mark(labelled->texts[row]));
        const auto takes =
            evenly(static_cast<double>(count) / static_cast<double>(std::max(count, task.facts.unlabelled)));
        TextReader reader({options.text.begin(), options.text.end()}, options.reading());
        std::vector<std::string> texts;
        double bytes = 0;
        std::uint64_t documents = 0;
        for (std::string document;
             texts.size() < count && bytes < FitRecipe().most_pseudo_bytes && reader.append_document(document);
             document.clear()) {
            if (!takes(documents++)) continue;
            while (document.ends_with('\n') || document.ends_with('\r')) document.pop_back();
            if (!known.insert(mark(document)).second) continue;
            bytes += static_cast<double>(document.size());
            texts.push_back(document);
        }
        return unlabelled_set(std::move(texts), task.model.tokenizer, {.keep_texts = true});
    });
    broadcast(set, world);
    set.classes = task.train.classes;
    return set;
}

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
