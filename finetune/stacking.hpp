#pragma once
// A network and a model of words, stacked (Wolpert 1992): what both say of a text is mixed, by numbers that are learnt
// on texts which neither has seen. With the words left out this is temperature scaling (Guo et al. 2017).
//
//   log p_c = a log n_c + b log w_c - log sum_k exp(a log n_k + b log w_k)
//
// n, w: class probabilities of the network (of several: their geometric mean) and of the words.

#include <cstdint>
#include <span>
#include <vector>

namespace ulmpi {

struct Stack {
    double network = 1, words = 0;  ///< a and b, neither negative
    friend bool operator==(const Stack&, const Stack&) = default;
};

/// What was said of rows by models that have not seen them, and the truth. Both (rows, classes); `words` may be empty.
struct HeldOut {
    std::span<const std::int32_t> labels;
    std::span<const float> network;  ///< probabilities
    std::span<const float> words;    ///< logarithms of probabilities
    std::size_t classes = 0;
};

/// The a, b >= 0 with the least
///
///   f(a, b) = sum_i -log p_i(label_i) + ((a - 1)^2 + b^2) / 2
///
/// which is strictly convex; b = 0 where there are no words. The last term weighs as much as a row or two: of no rows
/// a = 1 and b = 0 are learnt, of rows that are all right something finite. Exact to rounding, and always the same.
Stack learn_stack(const HeldOut& rows);
/// f, to look at.
double stack_objective(const Stack& stack, const HeldOut& rows);

/// p of every row, (rows, classes). `words` is not looked at where b = 0.
std::vector<float> stacked(const Stack& stack, std::span<const float> network, std::span<const float> words,
                           std::size_t classes);

/// The geometric mean of what several networks say, each (rows, classes), of one sum:
/// log n_c = mean over them of log n_mc, less what makes the sum 1. At least one.
std::vector<float> mean_of(std::span<const std::vector<float>> networks, std::size_t classes);

/// p of every row by numbers that were learnt without it: the rows are dealt into parts (stratified_folds), the numbers
/// learnt on all parts but the row's own. What these say of errors is not flattered by having been fitted to them.
std::vector<float> cross_fitted(const HeldOut& rows, std::uint64_t seed);

/// Expected calibration error: rows go by how sure they are of their likeliest class into 15 bins of equal width;
/// sum over bins of (rows in it / rows) |share that is right - mean probability|. 0 of no rows.
double calibration_error(std::span<const std::int32_t> labels, std::span<const float> probabilities,
                         std::size_t classes);

}  // namespace ulmpi
