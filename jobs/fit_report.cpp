#include "jobs/fit_report.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/progress.hpp"
#include "data/shared_runs.hpp"

namespace ulmpi {
namespace {

constexpr std::size_t mistakes_shown = 10, confusions_shown = 10, classes_in_a_matrix = 8;

std::span<const float> probabilities_of(const JudgedRows& judged, std::size_t row) {
    const std::size_t classes = judged.rows.classes.size();
    return std::span(judged.probabilities).subspan(row * classes, classes);
}

std::vector<std::int32_t> said_by_classifier(const JudgedRows& judged) {
    return best_classes(judged.probabilities, judged.rows.classes.size());
}

double calibration_error_of(const JudgedRows& judged) {
    return calibration_error(judged.rows.labels, judged.probabilities, judged.rows.classes.size());
}

// How the classifier was made, and what that is worth.
std::string making_page(const FitResult& result) {
    const ClassifierPlan& c = result.plan.classifier;
    const HeldOutErrors& held_out = result.held_out;
    std::string page = c.members == 0
                           ? fmt::format("  (one network, trained on {} of {} parts of the rows", c.folds - 1, c.folds)
                       : c.members == 1 ? std::string("  (one network, trained on all rows")
                                        : fmt::format("  (the mean of {} networks, trained on all rows", c.members);
    page += held_out.both.n == 0 ? "; what it says is taken as it is)\n"
                                 : fmt::format(
                                       "; its logarithms count {:.2f} times and those of\n   the words {:.2f} "
                                       "times, learnt on {} rows that were held out)\n",
                                       result.stack.network, result.stack.words, held_out.both.n);
    if (result.pseudo_labels > 0)
        page += fmt::format(
            "  (the words have learnt from {} texts of --text besides, with the labels that a network gave them: "
            "better for it\n   on the rows that were held out)\n",
            result.pseudo_labels);
    if (result.judged.rows.size() > 0)
        page += fmt::format(
            "  (how sure it is and how often it is right differ by {:.1f} % on average: expected "
            "calibration error)\n",
            100 * calibration_error_of(result.judged));
    if (held_out.both.n > 0 && held_out.both.wrong >= held_out.words.wrong)
        page += fmt::format(
            "  note: on the {} training texts held out words alone err on {:.1f} %, this classifier on "
            "{:.1f} %: the network adds nothing that can be seen\n",
            held_out.both.n, 100 * held_out.words.error(), 100 * held_out.both.error());
    return page;
}

/// Over all rows, or over those that do not stand in training too.
ErrorRate error_of(const JudgedRows& judged, const std::vector<std::int32_t>& said, bool unknown_alone) {
    ErrorRate rate;
    for (std::size_t i = 0; i < said.size(); ++i) {
        if (unknown_alone && !judged.known.empty() && judged.known[i]) continue;
        ++rate.n;
        rate.wrong += said[i] != judged.rows.labels[i];
    }
    return rate;
}

// At most `width` bytes in a line, cut between words and at the beginning of a character.
std::string shortened(const std::string& text, std::size_t width) {
    std::string line;
    for (char c : text) line += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
    if (line.size() <= width) return line;
    std::size_t end = line.rfind(' ', width);
    if (end == std::string::npos || end < width / 2) end = width;
    while (end > 0 && (static_cast<unsigned char>(line[end]) & 0xc0) == 0x80) --end;
    return line.substr(0, end) + " …";
}

std::string errors_page(const FitResult& result) {
    const JudgedRows& judged = result.judged;
    const ClassifierPlan& c = result.plan.classifier;
    std::string labels = result.words_rows < result.all_rows
                             ? fmt::format("{} of {} labels", result.words_rows, result.all_rows)
                             : fmt::format("{} labels", result.words_rows);
    if (c.rows < result.words_rows) labels += fmt::format(" (networks {})", c.rows);
    const std::string of_more =
        result.all_test_rows > judged.rows.size() ? fmt::format(" of {}", result.all_test_rows) : "";
    std::string page = result.has_test
                           ? fmt::format("Error on {}{} test texts, {}", judged.rows.size(), of_more, labels)
                           : fmt::format("Error by cross-validation: {} texts of {} of {} folds, {}",
                                         judged.rows.size(), c.folds_held, c.folds, labels);
    page = fmt::format("{:<66}  per cent\n", page);
    const auto lines = [&](bool unknown_alone) {
        const auto line = [&](const std::string& name, const std::vector<std::int32_t>& said) {
            const ErrorRate rate = error_of(judged, said, unknown_alone);
            return fmt::format("  {:<64}  {:>5.1f} +- {:.1f}\n", name, 100 * rate.error(), 100 * rate.standard_error());
        };
        std::string text;
        for (const Baseline& baseline : judged.baselines) text += line(baseline.name, baseline.said);
        if (!judged.network.empty()) text += line("the network without the words", judged.network);
        return text + line("this classifier", said_by_classifier(judged));
    };
    page += lines(false);
    if (const auto known = std::ranges::count(judged.known, true); known > 0)
        page += fmt::format("Without the {} test texts that stand among the training texts too\n", known) + lines(true);
    if (result.share_with_rows + result.share_with_text > 0)
        page += fmt::format(
            "  (texts that share a run of {} letters and digits: {} with the training texts, {} with "
            "--text)\n",
            SharedRuns::usual_length, result.share_with_rows, result.share_with_text);
    if (!of_more.empty())
        page += fmt::format("  (a sample, as the time allows; all of them: ulmpi evaluate --model {} --test FILE)\n",
                            result.run);
    if (result.test_left_out > 0)
        page +=
            fmt::format("  ({} test texts are left out: their classes have no training text)\n", result.test_left_out);
    if (!result.has_test)
        page += "  (each text is judged by a single network, words and shares that have not seen it)\n";
    page += making_page(result);
    return page;
}

std::string confusions_page(const ClassificationReport& report) {
    const std::size_t classes = report.classes.size();
    std::string page;
    if (classes <= classes_in_a_matrix) {
        std::size_t width = 8;
        for (const std::string& name : report.classes) width = std::max(width, name.size());
        page += fmt::format("\n{:<{}}  is said to be\n{:<{}}", "what is", width, "", width);
        for (const std::string& name : report.classes) page += fmt::format("  {:>{}}", name, width);
        page += '\n';
        for (std::size_t truth = 0; truth < classes; ++truth) {
            page += fmt::format("{:<{}}", report.classes[truth], width);
            for (const std::uint64_t n : report.confusion[truth]) page += fmt::format("  {:>{}}", n, width);
            page += '\n';
        }
        return page;
    }
    struct Pair {
        std::uint64_t n;
        std::size_t truth, said;
    };
    std::vector<Pair> pairs;
    for (std::size_t truth = 0; truth < classes; ++truth)
        for (std::size_t said = 0; said < classes; ++said)
            if (truth != said && report.confusion[truth][said] > 0)
                pairs.push_back({report.confusion[truth][said], truth, said});
    std::ranges::stable_sort(pairs, std::greater(), &Pair::n);
    pairs.resize(std::min(pairs.size(), confusions_shown));
    if (!pairs.empty()) page += "\nMost often confused\n";
    for (const Pair& pair : pairs)
        page +=
            fmt::format("  {:>5}  {}, said to be {}\n", pair.n, report.classes[pair.truth], report.classes[pair.said]);
    return page;
}

std::string mistakes_page(const JudgedRows& judged) {
    std::string page;
    for (const std::uint32_t row : surest_mistakes(judged, mistakes_shown)) {
        const std::span<const float> p = probabilities_of(judged, row);
        page += fmt::format("  {}, {:.0f} %  (truth: {})\n      {}\n", judged.rows.classes[best_class(p)],
                            100 * *std::ranges::max_element(p),
                            judged.rows.classes[static_cast<std::size_t>(judged.rows.labels[row])],
                            shortened(judged.rows.texts[row], 200));
    }
    return page.empty() ? page
                        : "\nThe surest mistakes (what the classifier says, how sure it is, and the truth)\n" + page;
}

Record to_record(const ErrorRate& rate) {
    Record record;
    record["error"] = number(rate.error());
    record["standard_error"] = number(rate.standard_error());
    record["n"] = rate.n;
    return record;
}

}  // namespace

double ErrorRate::standard_error() const { return n ? std::sqrt(error() * (1 - error()) / static_cast<double>(n)) : 0; }

ErrorRate error_of(std::span<const std::int32_t> labels, std::span<const std::int32_t> said) {
    ErrorRate rate{0, labels.size()};
    for (std::size_t i = 0; i < labels.size(); ++i) rate.wrong += said[i] != labels[i];
    return rate;
}

std::vector<std::uint32_t> surest_mistakes(const JudgedRows& judged, std::size_t most) {
    std::vector<std::uint32_t> rows;
    std::vector<float> sure;
    for (std::size_t i = 0; i < judged.rows.size(); ++i) {
        const std::span<const float> p = probabilities_of(judged, i);
        sure.push_back(*std::ranges::max_element(p));
        if (best_class(p) != static_cast<std::size_t>(judged.rows.labels[i]))
            rows.push_back(static_cast<std::uint32_t>(i));
    }
    std::ranges::stable_sort(rows, std::greater(), [&](std::uint32_t row) { return sure[row]; });
    rows.resize(std::min(rows.size(), most));
    return rows;
}

std::string report_page(const FitResult& result) {
    const JudgedRows& judged = result.judged;
    std::string page;
    if (judged.rows.size() > 0) {
        const ClassificationReport report =
            classification_report(judged.rows.classes, judged.rows.labels, judged.probabilities);
        page += errors_page(result) + "\n" + report.table() + confusions_page(report) + mistakes_page(judged);
    } else {
        page += "No error can be told: there is no --test, and too few rows or minutes to hold any out\n";
    }
    if (result.valid)
        page += fmt::format("\nError on {} texts{} of --valid: {:.1f} +- {:.1f} %\n", result.valid->n,
                            result.all_valid_rows > result.valid->n ? ", a sample," : "", 100 * result.valid->error(),
                            100 * result.valid->standard_error());
    return page + fmt::format("\n{} of {} taken; the classifier is {}: ulmpi predict --model {} --input texts.txt\n",
                              format_duration(result.seconds), format_duration(result.given), result.run, result.run);
}

Record report_record(const FitResult& result) {
    const JudgedRows& judged = result.judged;
    const ClassifierPlan& c = result.plan.classifier;
    Record record;
    record["kind"] = "fit";
    if (result.has_test) {
        record["test_rows"] = result.all_test_rows;
        record["test_left_out"] = result.test_left_out;
    }
    record["judged"] = judged.rows.size() == 0 ? "nothing" : result.has_test ? "test" : "cross-validation";
    record["classifier"] = to_record(error_of(judged, said_by_classifier(judged), false));
    record["calibration_error"] = number(calibration_error_of(judged));
    if (!judged.network.empty()) record["network"] = to_record(error_of(judged, judged.network, false));
    for (const Baseline& baseline : judged.baselines)
        record["baselines"][baseline.key] = to_record(error_of(judged, baseline.said, false));
    if (const auto known = std::ranges::count(judged.known, true); known > 0) {
        record["known"] = known;
        record["without_known"]["classifier"] = to_record(error_of(judged, said_by_classifier(judged), true));
        if (!judged.network.empty())
            record["without_known"]["network"] = to_record(error_of(judged, judged.network, true));
        for (const Baseline& baseline : judged.baselines)
            record["without_known"]["baselines"][baseline.key] = to_record(error_of(judged, baseline.said, true));
    }
    if (result.has_test) {
        record["shared_runs"]["train"] = result.share_with_rows;
        record["shared_runs"]["text"] = result.share_with_text;
    }
    if (result.valid) record["valid"] = to_record(*result.valid);
    record["rows"] = c.rows;
    record["words_rows"] = result.words_rows;
    record["epochs"] = c.epochs;
    record["text_tokens_read"] = result.plan.text.read;
    record["folds"] = c.folds;
    record["folds_held"] = c.folds_held;
    record["members"] = c.averaged();
    record["stack"]["network"] = number(result.stack.network);
    record["stack"]["words"] = number(result.stack.words);
    record["pseudo_labels"] = result.pseudo_labels;
    if (result.held_out.both.n > 0) {
        record["held_out"]["classifier"] = to_record(result.held_out.both);
        record["held_out"]["network"] = to_record(result.held_out.network);
        record["held_out"]["words"] = to_record(result.held_out.words);
    }
    record["seconds"] = number(result.seconds);
    record["minutes"] = number(result.given / 60);
    return record;
}

}  // namespace ulmpi
