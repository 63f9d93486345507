#pragma once
// What a fit was asked for, and what it has read before it plans.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/options/table.hpp"
#include "data/labelled_set.hpp"
#include "data/text_reader.hpp"
#include "jobs/fit_plan.hpp"
#include "training/inference.hpp"
#include "training/layout.hpp"

namespace ulmpi {

struct FitOptions {
    FitOptions() { layout.precision = "auto"; }
    void declare(OptionTable& table);
    TextOptions reading() const;

    std::string train, test, valid, run, init_from = "english";
    std::vector<std::string> text;
    std::string documents = "line", text_key = "text", walltime = "auto";
    double minutes = 20;
    std::uint64_t networks = FitRecipe().most_networks;
    std::optional<int> epochs;  ///< of every network; none: by the number of its rows
    bool stage_2 = true, pseudo_labels = true;
    std::uint64_t seed = 1;
    LayoutOptions layout;

    FitRecipe recipe() const;
};

/// Alike on all ranks.
struct FitTask {
    StoredModel model;       ///< that it starts from
    LabelledSet train = {};  ///< with texts, as are the others
    std::optional<LabelledSet> test = std::nullopt, valid = std::nullopt;
    std::uint64_t test_left_out = 0;  ///< rows of --test of classes that --train has no row of; on rank 0
    FitFacts facts = {};
    double encoding = 1;        ///< tokens a second that rank 0 makes of text
    nlohmann::json asked = {};  ///< what must be the same when the fit goes on
};

/// Reads all of it and says what is odd about it. Collective; UsageError alike on all ranks: a model that is none, one
/// class alone, --test or --valid mostly of other classes, files that cannot be read.
FitTask read_fit_task(const FitOptions& options, const Communicator& world);

/// Facts of other training rows of the same task.
FitFacts facts_with(const FitFacts& facts, const LabelledSet& train);

}  // namespace ulmpi
