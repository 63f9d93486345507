// How well and how fast the linear model of words does on a labelled set, for people: never part of ctest.
//
//   linear_benchmark TRAIN.tsv[.gz] TEST.tsv[.gz] [LABELS [SEED [ORDER [pieces]]]]
//
// With LABELS, a random part of the training rows, equally many of each class as far as possible. One line of JSON.
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files/line_reader.hpp"
#include "base/random_key.hpp"
#include "finetune/linear_fit.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

struct Rows {
    std::vector<std::string> labels, texts;
};

Rows read_rows(const std::string& path) {
    Rows rows;
    LineReader lines(path);
    std::string line;
    for (lines.append_line(line); line.clear(), lines.append_line(line);) {
        if (line.ends_with('\n')) line.pop_back();
        const std::size_t tab = line.find('\t');
        check_usage(tab != std::string::npos, lines.where() + ": no tab between label and text");
        rows.labels.push_back(line.substr(0, tab));
        rows.texts.push_back(line.substr(tab + 1));
    }
    return rows;
}

std::size_t class_of(const std::vector<std::string>& classes, const std::string& label) {
    return static_cast<std::size_t>(std::ranges::find(classes, label) - classes.begin());
}

/// The rows in a random order in which every class has its turn, cut off at `count`.
std::vector<std::size_t> balanced_draw(const Rows& rows, const std::vector<std::string>& classes, std::size_t count,
                                       std::uint64_t seed) {
    std::vector<std::vector<std::size_t>> of_class(classes.size());
    for (std::size_t i = 0; i < rows.labels.size(); ++i) of_class[class_of(classes, rows.labels[i])].push_back(i);
    std::vector<std::pair<std::size_t, std::size_t>> turns;  // place within its class, row
    for (auto& members : of_class) {
        std::ranges::sort(members, {}, [&](std::size_t i) { return random_key(seed, i); });
        for (std::size_t i = 0; i < members.size(); ++i) turns.emplace_back(i, members[i]);
    }
    std::ranges::stable_sort(turns, {}, [](const auto& turn) { return turn.first; });
    std::vector<std::size_t> drawn;
    for (std::size_t i = 0; i < std::min(count, turns.size()); ++i) drawn.push_back(turns[i].second);
    return drawn;
}

int run(int count, char** words, const Communicator& world) {
    check_usage(count >= 3, "usage: linear_benchmark TRAIN.tsv TEST.tsv [LABELS [SEED [ORDER [pieces]]]]");
    const Rows train = read_rows(words[1]), test = read_rows(words[2]);
    const std::size_t labels_wanted = count > 3 ? std::stoul(words[3]) : 0;
    const std::uint64_t seed = count > 4 ? std::stoull(words[4]) : 0;
    LinearOptions options;
    options.seed = seed;
    if (count > 5) options.kinds.order = std::stoi(words[5]);
    std::vector<std::string> classes = train.labels;
    std::ranges::sort(classes);
    classes.erase(std::unique(classes.begin(), classes.end()), classes.end());
    std::vector<std::string> texts;
    std::vector<std::int32_t> labels;
    for (const std::size_t i :
         balanced_draw(train, classes, labels_wanted == 0 ? train.texts.size() : labels_wanted, seed)) {
        texts.push_back(train.texts[i]);
        labels.push_back(static_cast<std::int32_t>(class_of(classes, train.labels[i])));
    }
    if (count > 6) {
        options.like = fit_linear(texts, labels, classes.size(), options, world).model.summary();
        options.kinds.pieces = true;
    }
    const auto start = std::chrono::steady_clock::now();
    const LinearFit fit = fit_linear(texts, labels, classes.size(), options, world);
    const auto fitted = std::chrono::steady_clock::now();
    const std::vector<float> scores = fit.model.log_probabilities(test.texts, omp_get_max_threads());
    const auto predicted = std::chrono::steady_clock::now();
    double wrong = 0, loss = 0;
    for (std::size_t i = 0; i < test.texts.size(); ++i) {
        const std::span<const float> row = std::span(scores).subspan(i * classes.size(), classes.size());
        const std::size_t truth = class_of(classes, test.labels[i]);
        wrong += static_cast<std::size_t>(std::ranges::max_element(row) - row.begin()) != truth;
        if (truth < classes.size()) loss -= static_cast<double>(row[truth]);
    }
    const LinearSummary& summary = fit.model.summary();
    const auto n = static_cast<double>(test.texts.size());
    if (world.rank() == 0)
        print_line(nlohmann::ordered_json{{"labels", labels.size()},
                                          {"seed", seed},
                                          {"order", options.kinds.order},
                                          {"pieces", options.kinds.pieces},
                                          {"error", 100 * wrong / n},
                                          {"loss", loss / n},
                                          {"held_out_error", 100 * summary.error},
                                          {"held_out_loss", summary.loss},
                                          {"strength", summary.strength},
                                          {"emphasis", summary.emphasis},
                                          {"bytes", fit.model.bytes().size()},
                                          {"fit_s", std::chrono::duration<double>(fitted - start).count()},
                                          {"predict_s", std::chrono::duration<double>(predicted - fitted).count()}}
                       .dump());
    return 0;
}

}  // namespace
}  // namespace ulmpi

int main(int argc, char** argv) { return ulmpi::run_main(argc, argv, ulmpi::run); }
