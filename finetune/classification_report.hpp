#pragma once
// What a classifier got right: accuracy, per-class precision, recall and F1, confusion.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "training/metrics.hpp"

namespace ulmpi {

struct ClassScore {
    std::uint64_t n = 0, predicted = 0, correct = 0;  ///< records of the class, said to be of it, both
    double precision() const { return predicted ? static_cast<double>(correct) / static_cast<double>(predicted) : 0; }
    double recall() const { return n ? static_cast<double>(correct) / static_cast<double>(n) : 0; }
    double f1() const {  // harmonic mean of the two
        return n + predicted ? 2 * static_cast<double>(correct) / static_cast<double>(n + predicted) : 0;
    }
};

struct ClassificationReport {
    std::vector<std::string> classes;
    std::vector<ClassScore> scores;                     ///< by class
    std::vector<std::vector<std::uint64_t>> confusion;  ///< [true class][predicted class]
    double loss = 0;                                    ///< mean of -log probability of the true class
    std::uint64_t n = 0, correct = 0;
    double accuracy() const { return n ? static_cast<double>(correct) / static_cast<double>(n) : 0; }
    double macro_f1() const;  ///< mean over the classes that occur

    /// {"kind": kind, "loss":…, "accuracy":…, "error":…, "macro_f1":…, "n":…}; with `details` also per class and
    /// confusion.
    Record record(const std::string& kind, bool details) const;
    /// The per-class table for people.
    std::string table() const;
};

/// probabilities: (labels.size(), classes.size()). The first of equal maxima is predicted.
ClassificationReport classification_report(const std::vector<std::string>& classes,
                                           std::span<const std::int32_t> labels, std::span<const float> probabilities);

/// Index of the largest.
std::size_t best_class(std::span<const float> probabilities);
/// Of every row of (rows, classes).
std::vector<std::int32_t> best_classes(std::span<const float> scores, std::size_t classes);

}  // namespace ulmpi
