#include "finetune/linear_fit.hpp"

#include <omp.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "base/error.hpp"
#include "base/random_key.hpp"
#include "data/document_reader.hpp"
#include "finetune/linear_problem.hpp"
#include "finetune/logistic_regression.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

// What is tried. C is the variance of a weight; along a path of growing C each solution begins at the one before.
constexpr std::array strengths{1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0};
constexpr std::array emphases{0.0, 1.0, 10.0};
constexpr std::uint32_t most_folds = 5;
constexpr double path_tolerance = 1e-2, final_tolerance = 1e-3;
constexpr std::size_t rare_rows = 5000;    // from here on an n-gram of a single text is left out
constexpr std::size_t choice_rows = 8000;  // held-out rows that suffice to choose by
constexpr std::uint32_t like_folds = 2;
constexpr double like_times = 10;

struct Candidate {
    double emphasis = 0, strength = 0;
};

/// What is tried, on how many folds.
struct Choice {
    std::vector<double> emphases, strengths;
    std::uint32_t folds = 1;
};
Choice choice_of(const LinearOptions& options, std::size_t rows, std::uint32_t folds) {
    const auto enough = static_cast<std::uint32_t>(std::clamp<std::size_t>(choice_rows * folds / rows, 1, folds));
    if (!options.like) return {{emphases.begin(), emphases.end()}, {strengths.begin(), strengths.end()}, enough};
    Choice choice{{options.like->emphasis}, {}, std::min(enough, like_folds)};
    for (const double strength : strengths)
        if (strength >= options.like->strength && strength <= like_times * options.like->strength)
            choice.strengths.push_back(strength);
    return choice;
}

/// The training set, and what one worker does with it.
class Fitter {
public:
    Fitter(std::span<const std::string> texts, std::span<const std::int32_t> labels, std::size_t classes,
           const LinearOptions& options, int threads)
        : matrix_(word_matrix(texts, options.kinds, texts.size() > rare_rows ? 2 : 1, options.most_weights / classes,
                              threads)),
          labels_(labels),
          classes_(classes),
          class_weights_(classes, 1.0) {
        std::copy(options.class_weights.begin(), options.class_weights.end(), class_weights_.begin());
    }

    /// The loss on the held-out rows of every strength, at this emphasis; infinite where it has long been rising.
    std::vector<double> path(std::span<const std::uint32_t> rows, std::span<const std::uint32_t> held_out,
                             double emphasis, std::span<const double> growing) const {
        constexpr double rising = 1.05;
        std::vector<double> losses(growing.size(), std::numeric_limits<double>::infinity());
        const LinearProblem problem(matrix_, labels_, classes_, class_weights_, rows, emphasis);
        LogisticObjective objective(problem.regression());
        std::vector<double> v(objective.size(), 0.0);
        for (std::size_t i = 0; i < growing.size(); ++i) {
            objective.set_strength(growing[i]);
            minimise(objective, v, path_tolerance);
            objective.take(v);
            losses[i] = 0;
            std::vector<double> scores(classes_);
            for (const std::uint32_t row : held_out) {
                objective.scores(scores, row);
                normalise_scores(scores);
                losses[i] -= class_weights_[label(row)] * scores[label(row)];
            }
            if (losses[i] > rising * *std::min_element(losses.begin(), losses.end())) break;
        }
        return losses;
    }

    /// A model of `rows`; writes the held-out rows' log-probabilities to their places in `scores`.
    LinearModel::Parts fit(std::span<float> scores, std::span<const std::uint32_t> rows,
                           std::span<const std::uint32_t> held_out, const Candidate& chosen) const {
        const LinearProblem problem(matrix_, labels_, classes_, class_weights_, rows, chosen.emphasis);
        LogisticObjective objective(problem.regression());
        objective.set_strength(chosen.strength);
        std::vector<double> v(objective.size(), 0.0);
        minimise(objective, v, final_tolerance);
        objective.take(v);
        std::vector<double> row_scores(classes_);
        for (const std::uint32_t row : held_out) {
            objective.scores(row_scores, row);
            normalise_scores(row_scores);
            std::transform(row_scores.begin(), row_scores.end(), scores.subspan(row * classes_).begin(),
                           [](double score) { return static_cast<float>(score); });
        }
        return parts(problem, objective);
    }

private:
    std::size_t label(std::uint32_t row) const { return static_cast<std::size_t>(labels_[row]); }

    /// The weights without idf, which a LinearModel multiplies by itself, less those of the last class.
    LinearModel::Parts parts(const LinearProblem& problem, const LogisticObjective& objective) const {
        LinearModel::Parts parts;
        parts.classes = classes_;
        parts.hashes = matrix_.index.hashes();
        parts.texts.assign(problem.texts().begin(), problem.texts().end());
        const std::size_t last = classes_ - 1;
        const std::span<const double> bias = objective.bias();
        for (std::size_t c = 0; c < last; ++c) parts.bias.push_back(static_cast<float>(bias[c] - bias[last]));
        for (std::size_t j = 0; j < matrix_.width(); ++j)
            for (std::size_t c = 0; c < last; ++c)
                parts.weights.push_back(static_cast<float>(problem.weight(j, c, objective.weights()) -
                                                           problem.weight(j, last, objective.weights())));
        return parts;
    }

    WordMatrix matrix_;
    std::span<const std::int32_t> labels_;
    std::size_t classes_;
    std::vector<double> class_weights_;
};

/// The rows of a fold, and all others.
struct Split {
    std::vector<std::uint32_t> rows, held_out;
};
Split split_at(std::span<const std::uint32_t> fold_of, std::uint32_t fold) {
    Split split;
    for (std::uint32_t row = 0; row < fold_of.size(); ++row)
        (fold_of[row] == fold ? split.held_out : split.rows).push_back(row);
    return split;
}

/// body(job) for every job, dealt over the ranks and the threads of each.
template <typename Body>
void deal(std::size_t jobs, const Communicator& ranks, int threads, Body body) {
    const auto size = static_cast<std::size_t>(ranks.size()), rank = static_cast<std::size_t>(ranks.rank());
    const std::size_t mine = rank < jobs ? (jobs - rank - 1) / size + 1 : 0;
    parallel_loop(
        threads, mine, [&](std::size_t, std::size_t i) { body(rank + i * size); }, 1);
}

/// The emphasis and strength with the least loss on the rows of the choice's folds.
Candidate choose(const std::optional<Fitter>& fitter, std::span<const std::uint32_t> fold_of, const Choice& choice,
                 const Communicator& ranks, int threads) {
    const std::size_t tried = choice.emphases.size(), each = choice.strengths.size(), jobs = choice.folds * tried;
    std::vector<double> losses(jobs * each, 0.0);
    deal(jobs, ranks, threads, [&](std::size_t job) {
        const Split split = split_at(fold_of, static_cast<std::uint32_t>(job / tried));
        const auto path = fitter->path(split.rows, split.held_out, choice.emphases[job % tried], choice.strengths);
        std::copy(path.begin(), path.end(), losses.begin() + static_cast<std::ptrdiff_t>(job * each));
    });
    ranks.all_reduce_sum(std::span<double>(losses));  // of each, all but one are 0
    std::vector<double> sums(tried * each, 0.0);
    for (std::size_t i = 0; i < losses.size(); ++i) sums[i % sums.size()] += losses[i];
    const auto best = static_cast<std::size_t>(std::ranges::min_element(sums) - sums.begin());
    return {choice.emphases[best / each], choice.strengths[best % each]};
}

void judge(LinearSummary& summary, std::span<const float> held_out, std::span<const std::int32_t> labels) {
    const std::size_t classes = held_out.size() / labels.size();
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const std::span<const float> row = held_out.subspan(i * classes, classes);
        const auto best = static_cast<std::size_t>(std::ranges::max_element(row) - row.begin());
        summary.loss -= static_cast<double>(row[static_cast<std::size_t>(labels[i])]);
        summary.error += best != static_cast<std::size_t>(labels[i]);
    }
    summary.loss /= static_cast<double>(labels.size());
    summary.error /= static_cast<double>(labels.size());
}

}  // namespace

std::vector<std::uint32_t> stratified_folds(std::span<const std::int32_t> labels, std::size_t classes,
                                            std::uint32_t folds, std::uint64_t seed) {
    std::vector<std::vector<std::uint32_t>> rows(classes);
    for (std::uint32_t row = 0; row < labels.size(); ++row) rows[static_cast<std::size_t>(labels[row])].push_back(row);
    const std::uint64_t key = random_key(seed, "folds");
    std::vector<std::uint32_t> fold_of(labels.size());
    std::uint32_t dealt = 0;
    for (std::vector<std::uint32_t>& of_class : rows) {
        std::ranges::sort(of_class, {}, [&](std::uint32_t row) { return random_key(key, row); });
        for (const std::uint32_t row : of_class) fold_of[row] = dealt++ % folds;
    }
    return fold_of;
}

LinearFit fit_linear(std::span<const std::string> texts, std::span<const std::int32_t> labels, std::size_t classes,
                     const LinearOptions& options, const Communicator& ranks) {
    check(texts.size() == labels.size() && texts.size() >= 2 && classes >= 2, "too little to fit a linear model to");
    const int threads = options.threads > 0 ? options.threads : omp_get_max_threads();
    const auto folds = static_cast<std::uint32_t>(std::clamp<std::size_t>(texts.size() / 2, 2, most_folds));
    const std::vector<std::uint32_t> fold_of = stratified_folds(labels, classes, folds, options.seed);
    const Choice choice = choice_of(options, texts.size(), folds);
    std::optional<Fitter> fitter;  // where there is something to do
    if (static_cast<std::size_t>(ranks.rank()) <
        std::max<std::size_t>(choice.folds * choice.emphases.size(), folds + 1))
        fitter.emplace(texts, labels, classes, options, threads);
    const Candidate chosen = choose(fitter, fold_of, choice, ranks, threads);

    // Fold number `folds` holds nothing out: that is the model.
    std::vector<float> held_out(texts.size() * classes, 0.0f);
    LinearModel::Parts parts;
    deal(folds + 1, ranks, threads, [&](std::size_t job) {
        const Split split = split_at(fold_of, static_cast<std::uint32_t>(job));
        LinearModel::Parts fitted = fitter->fit(held_out, split.rows, split.held_out, chosen);
        if (job == folds) parts = std::move(fitted);
    });
    fitter.reset();
    ranks.all_reduce_sum(std::span<float>(held_out));  // of each, all but one are 0
    parts.kinds = options.kinds;
    parts.summary = {texts.size(), folds, chosen.strength, chosen.emphasis, 0, 0};
    judge(parts.summary, held_out, labels);
    const int owner = static_cast<int>(folds) % ranks.size();
    std::string bytes;
    if (ranks.rank() == owner) bytes = LinearModel(std::move(parts)).bytes();
    return {LinearModel::from_bytes(broadcast_text(std::move(bytes), ranks, owner)), std::move(held_out)};
}

LinearModel fit_linear_of(double strength, std::span<const std::string> texts, std::span<const std::int32_t> labels,
                          std::size_t classes, const LinearOptions& options, const Communicator& ranks) {
    check(texts.size() == labels.size() && texts.size() >= 2 && classes >= 2, "too little to fit a linear model to");
    return LinearModel::from_bytes(from_leader(ranks, [&] {
        const Fitter fitter(texts, labels, classes, options,
                            options.threads > 0 ? options.threads : omp_get_max_threads());
        std::vector<std::uint32_t> rows(texts.size());
        std::iota(rows.begin(), rows.end(), 0u);
        LinearModel::Parts parts = fitter.fit({}, rows, {}, {.strength = strength});
        parts.kinds = options.kinds;
        parts.summary = {.rows = texts.size(), .strength = strength};
        return LinearModel(std::move(parts)).bytes();
    }));
}

}  // namespace ulmpi
