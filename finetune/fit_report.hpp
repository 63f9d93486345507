#pragma once
// How a fit ended: for people a page, for programs a record. Pure.

#include <optional>
#include <string>
#include <vector>

#include "data/labelled_set.hpp"
#include "finetune/classification_report.hpp"
#include "finetune/fit_plan.hpp"

namespace ulmpi {

/// Something simple to compare with.
struct Baseline {
    std::string key, name;           ///< for programs and for people
    std::vector<std::int32_t> said;  ///< of each row, its class
};

/// Rows that a classifier was not trained on, and what it says of them.
struct JudgedRows {
    LabelledSet rows = {};                  ///< labels and texts; tokens are not looked at
    std::vector<float> probabilities = {};  ///< (rows, classes)
    std::vector<Baseline> baselines = {};
    std::vector<bool> known = {};  ///< the text stands among the training texts too; empty: not looked for
};

/// The share that is wrong and its standard error, sqrt(e (1 - e) / n).
struct ErrorRate {
    std::uint64_t wrong = 0, n = 0;
    double error() const { return n ? static_cast<double>(wrong) / static_cast<double>(n) : 0; }
    double standard_error() const;
};

struct FitResult {
    JudgedRows judged = {};  ///< no rows: nothing could be held out
    FitPlan plan = {};       ///< as it was carried out: folds_held, rows
    std::uint64_t all_rows = 0;
    bool has_test = false;
    std::optional<ErrorRate> valid = std::nullopt;  ///< on --valid
    double seconds = 0, given = 0;                  ///< taken and given
    std::string run = {};
};

/// Rows where the classifier is wrong, the surest first, `most` at most.
std::vector<std::uint32_t> surest_mistakes(const JudgedRows& judged, std::size_t most);

/// Errors beside the baselines', per class, confusions, mistakes, minutes.
std::string report_page(const FitResult& result);
/// {"kind":"fit", …}
Record report_record(const FitResult& result);

}  // namespace ulmpi
