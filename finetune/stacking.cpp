#include "finetune/stacking.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.hpp"
#include "finetune/classification_report.hpp"
#include "finetune/linear_fit.hpp"

namespace ulmpi {
namespace {

constexpr double least_log = -80;  // log of a probability that floats cannot hold
constexpr std::uint32_t most_parts = 5;

double log_of(float probability) { return std::max(std::log(static_cast<double>(probability)), least_log); }

/// scores_c = a log n_c + b log w_c, then log p_c.
class Mixer {
public:
    explicit Mixer(std::size_t classes) : logs_(classes) {}
    std::span<const double> operator()(const Stack& s, std::span<const float> network, std::span<const float> words) {
        for (std::size_t c = 0; c < logs_.size(); ++c) {
            logs_[c] = s.network * log_of(network[c]);
            if (s.words > 0) logs_[c] += s.words * std::max(static_cast<double>(words[c]), least_log);
        }
        normalise_scores(logs_);
        return logs_;
    }

private:
    std::vector<double> logs_;
};

/// f at a point, its gradient and second derivatives.
struct Local {
    double value = 0;
    std::array<double, 2> gradient{};
    double aa = 0, ab = 0, bb = 0;
};

// With x_c = (log n_c, log w_c): gradient of a row's loss is E_p x - x_label, its second derivatives are Cov_p x.
Local at(const Stack& stack, const HeldOut& rows) {
    Local f;
    const std::size_t classes = rows.classes;
    Mixer mix(classes);
    for (std::size_t i = 0; i < rows.labels.size(); ++i) {
        const auto network = rows.network.subspan(i * classes, classes);
        const auto words = rows.words.empty() ? rows.words : rows.words.subspan(i * classes, classes);
        const std::span<const double> logs = mix(stack, network, words);
        double ea = 0, eb = 0, eaa = 0, eab = 0, ebb = 0;
        const auto x = [&](std::size_t c) {
            return std::pair{log_of(network[c]),
                             words.empty() ? 0.0 : std::max(static_cast<double>(words[c]), least_log)};
        };
        for (std::size_t c = 0; c < classes; ++c) {
            const double p = std::exp(logs[c]);
            const auto [n, w] = x(c);
            ea += p * n;
            eb += p * w;
            eaa += p * n * n;
            eab += p * n * w;
            ebb += p * w * w;
        }
        const auto label = static_cast<std::size_t>(rows.labels[i]);
        const auto [n, w] = x(label);
        f.value -= logs[label];
        f.gradient[0] += ea - n;
        f.gradient[1] += eb - w;
        f.aa += eaa - ea * ea;
        f.ab += eab - ea * eb;
        f.bb += ebb - eb * eb;
    }
    const double a = stack.network - 1, b = stack.words;
    f.value += (a * a + b * b) / 2;
    f.gradient[0] += a;
    f.gradient[1] += b;
    f.aa += 1;
    f.bb += 1;
    return f;
}

/// Projected Newton steps in the coordinates that are free: one at its bound, whose gradient holds it there, is not.
/// Each is halved until f falls by a ten-thousandth of what its slope promises (Bertsekas 1982).
Stack minimised(const HeldOut& rows) {
    Stack here;
    Local f = at(here, rows);
    for (int step = 0; step < 100; ++step) {
        const bool free_a = here.network > 0 || f.gradient[0] < 0;
        const bool free_b = !rows.words.empty() && (here.words > 0 || f.gradient[1] < 0);
        double da = 0, db = 0;
        if (free_a && free_b) {
            const double determinant = f.aa * f.bb - f.ab * f.ab;
            da = (f.ab * f.gradient[1] - f.bb * f.gradient[0]) / determinant;
            db = (f.ab * f.gradient[0] - f.aa * f.gradient[1]) / determinant;
        } else {
            if (free_a) da = -f.gradient[0] / f.aa;
            if (free_b) db = -f.gradient[1] / f.bb;
        }
        const auto moved = [&](double share) {
            return Stack{std::max(0.0, here.network + share * da), std::max(0.0, here.words + share * db)};
        };
        Stack next = moved(1);
        Local there = at(next, rows);
        const auto falls = [&] {
            const double slope =
                f.gradient[0] * (next.network - here.network) + f.gradient[1] * (next.words - here.words);
            return there.value <= f.value + 1e-4 * std::min(slope, 0.0);
        };
        for (double share = 0.5; !falls() && share > 1e-12; share /= 2) there = at(next = moved(share), rows);
        const double way = std::abs(next.network - here.network) + std::abs(next.words - here.words);
        if (there.value > f.value || way < 1e-12 * (1 + here.network + here.words)) break;
        here = next;
        f = there;
    }
    return here;
}

void check_sizes(const HeldOut& rows) {
    const std::size_t values = rows.labels.size() * rows.classes;
    check(rows.network.size() == values && (rows.words.empty() || rows.words.size() == values),
          "what is stacked is not of the same rows and classes");
}

}  // namespace

Stack learn_stack(const HeldOut& rows) {
    check_sizes(rows);
    return minimised(rows);
}

double stack_objective(const Stack& stack, const HeldOut& rows) { return at(stack, rows).value; }

std::vector<float> stacked(const Stack& stack, std::span<const float> network, std::span<const float> words,
                           std::size_t classes) {
    check(network.size() % classes == 0 && (stack.words == 0 || words.size() == network.size()),
          "what is stacked is not of the same rows and classes");
    std::vector<float> probabilities;
    probabilities.reserve(network.size());
    Mixer mix(classes);
    for (std::size_t first = 0; first < network.size(); first += classes) {
        const auto of_words = stack.words > 0 ? words.subspan(first, classes) : std::span<const float>();
        for (const double log : mix(stack, network.subspan(first, classes), of_words))
            probabilities.push_back(static_cast<float>(std::exp(log)));
    }
    return probabilities;
}

std::vector<float> mean_of(std::span<const std::vector<float>> networks, std::size_t classes) {
    std::vector<float> mean;
    std::vector<double> logs(classes);
    for (std::size_t first = 0; first < networks.front().size(); first += classes) {
        std::ranges::fill(logs, 0.0);
        for (const std::vector<float>& one : networks)
            for (std::size_t c = 0; c < classes; ++c)
                logs[c] += log_of(one[first + c]) / static_cast<double>(networks.size());
        normalise_scores(logs);
        for (const double log : logs) mean.push_back(static_cast<float>(std::exp(log)));
    }
    return mean;
}

std::vector<float> cross_fitted(const HeldOut& rows, std::uint64_t seed) {
    check_sizes(rows);
    const std::size_t classes = rows.classes, count = rows.labels.size();
    const std::uint32_t parts = std::clamp(static_cast<std::uint32_t>(count / 2), 1u, most_parts);
    const std::vector<std::uint32_t> part_of = stratified_folds(rows.labels, classes, parts, seed);
    std::vector<float> all(rows.network.size());
    for (std::uint32_t part = 0; part < parts; ++part) {
        std::vector<std::int32_t> labels;
        std::vector<float> network, words;
        for (std::size_t i = 0; i < count; ++i) {
            if (part_of[i] == part) continue;
            labels.push_back(rows.labels[i]);
            const auto append = [&](std::vector<float>& to, std::span<const float> from) {
                if (!from.empty())
                    to.insert(to.end(), from.begin() + std::ptrdiff_t(i * classes),
                              from.begin() + std::ptrdiff_t((i + 1) * classes));
            };
            append(network, rows.network);
            append(words, rows.words);
        }
        const Stack stack = minimised({labels, network, words, classes});
        for (std::size_t i = 0; i < count; ++i) {
            if (part_of[i] != part) continue;
            const auto row = [&](std::span<const float> of) {
                return of.empty() ? of : of.subspan(i * classes, classes);
            };
            std::ranges::copy(stacked(stack, row(rows.network), row(rows.words), classes),
                              all.begin() + std::ptrdiff_t(i * classes));
        }
    }
    return all;
}

double calibration_error(std::span<const std::int32_t> labels, std::span<const float> probabilities,
                         std::size_t classes) {
    constexpr std::size_t bins = 15;
    std::array<double, bins> excess{};  // right answers less expected ones
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const auto row = probabilities.subspan(i * classes, classes);
        const std::size_t best = best_class(row);
        const auto sure = static_cast<double>(row[best]);
        const auto bin = std::min(bins - 1, static_cast<std::size_t>(sure * static_cast<double>(bins)));
        excess[bin] += (best == static_cast<std::size_t>(labels[i]) ? 1 : 0) - sure;
    }
    double sum = 0;
    for (const double one : excess) sum += std::abs(one);
    return labels.empty() ? 0 : sum / static_cast<double>(labels.size());
}

}  // namespace ulmpi
