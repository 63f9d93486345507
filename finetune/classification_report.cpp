#include "finetune/classification_report.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace ulmpi {

std::size_t best_class(std::span<const float> probabilities) {
    return static_cast<std::size_t>(std::max_element(probabilities.begin(), probabilities.end()) -
                                    probabilities.begin());
}

std::vector<std::int32_t> best_classes(std::span<const float> scores, std::size_t classes) {
    std::vector<std::int32_t> best;
    for (std::size_t first = 0; first < scores.size(); first += classes)
        best.push_back(static_cast<std::int32_t>(best_class(scores.subspan(first, classes))));
    return best;
}

ClassificationReport classification_report(const std::vector<std::string>& classes,
                                           std::span<const std::int32_t> labels, std::span<const float> probabilities) {
    const std::size_t width = classes.size();
    ClassificationReport report;
    report.classes = classes;
    report.scores.resize(width);
    report.confusion.assign(width, std::vector<std::uint64_t>(width, 0));
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const std::span<const float> row = probabilities.subspan(i * width, width);
        const auto truth = static_cast<std::size_t>(labels[i]);
        const std::size_t guess = best_class(row);
        ++report.n;
        ++report.scores[truth].n;
        ++report.scores[guess].predicted;
        ++report.confusion[truth][guess];
        if (guess == truth) ++report.correct, ++report.scores[truth].correct;
        report.loss -= std::log(std::max(static_cast<double>(row[truth]), 1e-30));
    }
    if (report.n > 0) report.loss /= static_cast<double>(report.n);
    return report;
}

double ClassificationReport::macro_f1() const {
    double sum = 0;
    std::uint64_t present = 0;
    for (const ClassScore& score : scores)
        if (score.n > 0) sum += score.f1(), ++present;
    return present ? sum / static_cast<double>(present) : 0;
}

Record ClassificationReport::record(const std::string& kind, bool details) const {
    Record record;
    record["kind"] = kind;
    record["loss"] = number(loss);
    record["accuracy"] = number(accuracy());
    record["error"] = number(n ? 1 - accuracy() : 0);
    record["macro_f1"] = number(macro_f1());
    record["n"] = n;
    if (!details) return record;
    for (std::size_t c = 0; c < classes.size(); ++c) {
        Record one;
        one["precision"] = number(scores[c].precision());
        one["recall"] = number(scores[c].recall());
        one["f1"] = number(scores[c].f1());
        one["n"] = scores[c].n;
        record["classes"][classes[c]] = one;
    }
    record["confusion"] = confusion;
    return record;
}

std::string ClassificationReport::table() const {
    std::size_t width = 8;
    for (const std::string& name : classes) width = std::max(width, name.size());
    std::string text = fmt::format("{:<{}}  precision  recall      F1       n\n", "class", width);
    for (std::size_t c = 0; c < classes.size(); ++c)
        text += fmt::format("{:<{}}  {:>7.1f} %  {:>4.1f} %  {:>4.1f} %  {:>6}\n", classes[c], width,
                            100 * scores[c].precision(), 100 * scores[c].recall(), 100 * scores[c].f1(), scores[c].n);
    return text + fmt::format("accuracy {:.2f} %, error {:.2f} %, macro F1 {:.2f} %, n {}\n", 100 * accuracy(),
                              n ? 100 - 100 * accuracy() : 0, 100 * macro_f1(), n);
}

}  // namespace ulmpi
