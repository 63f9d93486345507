#pragma once
// What `ulmpi fit` does with the time that it is given: pure functions of the facts, of this machine's speed and of the
// seconds that are left.

#include <algorithm>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "training/recipe.hpp"

namespace ulmpi {

/// The values that fit trains with, and between which it plans.
struct FitRecipe {
    double reserve = 0.1;  ///< of the time that is left: machines are busy, and what was measured for a second varies

    BestRecipe best = best_recipe;  ///< rates, dropouts, batches, epochs wanted

    // Stage 2: slanted triangular, the last block at the full rate.
    double most_text_epochs = 10;           ///< a small text that is read more often is learnt by heart
    std::uint64_t least_text_updates = 20;  ///< fewer move nothing but the optimizer's moments
    std::uint64_t least_text_windows = 4;   ///< a text that is no longer is left out
    std::size_t text_batch = 16, least_text_batch = 4, most_text_batch = 64;
    double text_updates = 200, most_text_updates = 2000;  ///< between them the batch stays as it is

    // Stage 3: nothing frozen, one slanted triangle.
    std::uint64_t least_updates = 150;  ///< where minutes are too few for the epochs that are wanted,
    int least_epochs = 2;               ///< or so many epochs
    std::uint64_t least_rows = 100;     ///< of a sample
    double words_share = 0.25;          ///< of stage 3's time: for a linear model of more rows than that
    double pieces_share = 0.1;          ///< of the time that is left: for pieces of words in the linear model
    // Where both stages want more time, stage 3 has half of it, or what its first network's epochs need, up to this.
    double share = 0.5, first_share = 0.75;
    // Where one network would take more than this share of the minutes to judge --test and --valid, a sample is judged.
    double judging_share = 0.15;
    std::uint64_t least_judged = 500;  ///< rows, however long it takes
    // The share of stage 3's time that the networks leave to pseudo-labels (jobs/fit_pseudo_labels.hpp).
    double pseudo_share = 0.2;
    std::uint64_t least_pseudo = 200, most_pseudo = 10000;  ///< texts,
    double most_pseudo_bytes = 1 << 26;                     ///< of which every rank keeps as many bytes at most
    std::uint64_t least_pseudo_labels(std::uint64_t rows) const { return std::max(least_pseudo, rows); }
    std::uint64_t rows_of_fold = 4;  ///< held out at least; fewer rows have fewer folds,
    std::uint32_t least_folds = 2, most_folds = 5, most_members = 3;
    std::uint64_t most_networks = most_folds + most_members;
};

/// What is known before anything is trained.
struct FitFacts {
    std::vector<std::uint64_t> rows_of_class = {};  ///< of the training rows
    std::uint64_t tokens = 0;                       ///< of the training rows
    std::uint64_t judged_rows = 0;                  ///< of --test and --valid
    std::uint64_t judged_tokens = 0;                ///< of those
    bool has_test = false;
    std::uint64_t text_tokens = 0;        ///< of the text that stage 2 may read; 0: stage 2 is done, or left out
    std::uint64_t unlabelled = 0;         ///< documents of --text that may have pseudo-labels,
    std::uint64_t unlabelled_tokens = 0;  ///< and tokens of those
    std::size_t context = 1;              ///< tokens that the model sees at a time
    std::size_t replicas = 1;

    std::uint64_t rows() const;
    std::uint64_t folds(const FitRecipe& recipe) const;  ///< 0: none can be made
    bool has_text(const FitRecipe& recipe) const;        ///< that stage 2 reads
};

/// What this machine does with this model, on all ranks together.
struct FitSpeed {
    double text = 1, classifier = 1;  ///< tokens a second of stages 2 and 3
    double prediction = 1;            ///< tokens a second that are judged
    double encoding = 1;              ///< tokens a second that are made of text
    double linear = 0;                ///< seconds that a linear model takes for a token of its rows; 0: it is fitted
    double linear_once = 0;           ///< the same, of one whose strength is known; 0: there is none
    double run = 0;                   ///< seconds to begin a run and to end it
};

/// Stage 2 as planned.
struct TextPlan {
    std::uint64_t tokens = 0;  ///< of the shards: the whole text, or a sample of its documents
    std::uint64_t read = 0;    ///< tokens in training, whole updates; 0: stage 2 is left out
    std::size_t batch = 0;
    double seconds = 0;  ///< that it is expected to take, making the shards included
    double latest = 0;   ///< when it must have ended, in seconds that the fit has spent, so that stage 3 has its share
};

/// Stage 3 as planned.
struct ClassifierPlan {
    std::uint64_t rows = 0;        ///< all, or a sample of them: of the networks,
    std::uint64_t words_rows = 0;  ///< and of the linear model, which has all of the networks' among its own
    int epochs = 0;
    std::size_t batch = 0;
    std::uint32_t folds = 0;       ///< that the rows are dealt to; 0: no row can be spared
    std::uint32_t folds_held = 0;  ///< so many of them are held out in turn, each from a network of its own
    std::uint32_t members = 0;     ///< networks that learn from all rows
    double fold_seconds = 0;       ///< of one fold: training without it and judging it
    double member_seconds = 0;     ///< of one member
    double comparing = 0;          ///< of the linear model of words; pieces of words shorten what is planned then
    std::uint64_t pseudo = 0;      ///< texts that networks give pseudo-labels to
    double pseudo_seconds = 0;     ///< that this takes one network, and the linear model of them
    double judged = 1;             ///< share of --test and of --valid: all, or a sample
    double judging = 0;            ///< of it, by the networks of the classifier
    std::uint32_t networks() const { return folds_held + members; }
    /// Networks that give pseudo-labels: those without a fold, to tell what they are worth, and the first of all rows.
    std::uint32_t labelling() const { return folds_held + std::min(members, 1u); }
    /// Of the classifier: the members, or else, where there is time for one network alone, that of the first fold.
    std::uint32_t averaged() const { return members > 0 ? members : 1; }
    double total() const {
        return comparing + folds_held * fold_seconds + members * member_seconds + labelling() * pseudo_seconds +
               judging;
    }
};

/// A network that stage 3 trains: without a fold, or a member on all rows. Both are counted from 1; 0: not that.
struct Network {
    std::uint32_t fold = 0, member = 0;
    friend bool operator==(const Network&, const Network&) = default;
};
/// In the order of what they are worth, so that the time cuts off an end: the first fold, from which it is learnt how
/// much network and words count, and which alone is a classifier; the first member; then, where nothing else tells the
/// error, folds and members in turn, otherwise members and a second fold.
std::vector<Network> networks_in_order(std::uint32_t folds, bool has_test, const FitRecipe& recipe = {});
/// The plan with the first `count` of them.
void take_networks(ClassifierPlan& plan, const std::vector<Network>& order, std::size_t count);

struct FitPlan {
    TextPlan text;
    ClassifierPlan classifier;
    double seconds() const { return text.seconds + classifier.total(); }
};

/// The plan for so many seconds. Throws UsageError with the least that does if they do not; `spent`: what went before
/// and belongs to the same minutes.
FitPlan plan_fit(const FitFacts& facts, const FitSpeed& speed, double seconds_left, double spent,
                 const FitRecipe& recipe = {});

/// The same once work has begun: the least of it where there are too few.
FitPlan plan_rest(const FitFacts& facts, const FitSpeed& speed, double seconds_left, double spent,
                  const FitRecipe& recipe = {});

/// For people, a line for each part.
std::string description(const FitPlan& plan, const FitFacts& facts);

nlohmann::json to_json(const FitPlan& plan);
FitPlan fit_plan_from(const nlohmann::json& plan);
nlohmann::json to_json(const FitSpeed& speed);
FitSpeed fit_speed_from(const nlohmann::json& speed);

}  // namespace ulmpi
