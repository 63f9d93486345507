#pragma once
// How a fit ended: for people a page, for programs a record. Pure.

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/labelled_set.hpp"
#include "finetune/classification_report.hpp"
#include "finetune/stacking.hpp"
#include "jobs/fit_plan.hpp"

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
    std::vector<std::int32_t> network = {};  ///< of each row, the class that the network says without the words
    std::vector<bool> known = {};            ///< the text stands among the training texts too; empty: not looked for
};

/// The share that is wrong and its standard error, sqrt(e (1 - e) / n).
struct ErrorRate {
    std::uint64_t wrong = 0, n = 0;
    double error() const { return n ? static_cast<double>(wrong) / static_cast<double>(n) : 0; }
    double standard_error() const;
};

/// On the training rows that were held out.
struct HeldOutErrors {
    ErrorRate network, words, both;
};

struct FitResult {
    JudgedRows judged = {};  ///< no rows: nothing could be held out
    FitPlan plan = {};       ///< as it was carried out: members, rows
    Stack stack = {};
    std::uint64_t pseudo_labels = 0;             ///< texts by whose pseudo-labels the words are better
    HeldOutErrors held_out = {};                 ///< of no rows where none could be spared
    std::uint64_t all_rows = 0, words_rows = 0;  ///< there are; that the words were learnt from
    bool has_test = false;
    std::uint64_t all_test_rows = 0, all_valid_rows = 0;     ///< where a sample of them may be what was judged
    std::uint64_t test_left_out = 0;                         ///< test rows of classes that no training row has
    std::uint64_t share_with_rows = 0, share_with_text = 0;  ///< test texts with a run of letters
                                                             ///< (data/shared_runs.hpp) of a training text, of --text
    std::optional<ErrorRate> valid = std::nullopt;           ///< on --valid
    double seconds = 0, given = 0;                           ///< taken and given
    std::string run = {};
};

/// How many of the rows are said to be of another class than they are.
ErrorRate error_of(std::span<const std::int32_t> labels, std::span<const std::int32_t> said);

/// Rows where the classifier is wrong, the surest first, `most` at most.
std::vector<std::uint32_t> surest_mistakes(const JudgedRows& judged, std::size_t most);

/// Errors beside the baselines', per class, confusions, mistakes, minutes.
std::string report_page(const FitResult& result);
/// {"kind":"fit", …}
Record report_record(const FitResult& result);

}  // namespace ulmpi
