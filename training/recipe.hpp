#pragma once
// What stages 2 and 3 are trained with where nothing else was asked for.

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/options/table.hpp"

namespace ulmpi {

/// The best known values, found on validation (docs/LOG.md, docs/results.md). `ulmpi fit` plans with them too.
struct BestRecipe {
    // Stage 2: slanted triangular, the last block at the full rate.
    double text_rate = 1e-3, text_factor = 1.3;
    double text_dropout = 0.1;  ///< of a text that is read often; none of one that is read `few_passes` times or fewer
    double few_passes = 2;      ///< and so not learnt by heart

    // Stage 3: nothing frozen, one slanted triangle.
    double rate = 5e-4, factor = 1.3, dropout = 0.1;
    double scratch_rate = 1e-3;  ///< without a model to start from, all groups alike
    std::size_t batch = 16, large_batch = 32;
    std::uint64_t large_set = 20000;  ///< rows from which on the batch is the large one
    std::uint64_t updates = 2500;     ///< wanted, of `batch` rows, within these epochs:
    int least_epochs = 3, most_epochs = 15;
    std::uint64_t least_updates = 300;  ///< of fewer rows more epochs until there are so many updates,
    int most_epochs_of_few = 150;       ///< or so many epochs

    double text_dropout_of(double passes) const { return passes > few_passes ? text_dropout : 0; }
    std::size_t batch_of(std::uint64_t rows) const { return rows < large_set ? batch : large_batch; }
    /// The fewer rows, the more.
    int epochs_of(std::uint64_t rows) const {
        const auto epochs_for = [&](std::uint64_t wanted, int most) {
            const std::uint64_t steps = std::max<std::uint64_t>(1, (rows + batch - 1) / batch);
            return static_cast<int>(
                std::min<std::uint64_t>((wanted + steps - 1) / steps, static_cast<std::uint64_t>(most)));
        };
        return std::max(
            {least_epochs, epochs_for(updates, most_epochs), epochs_for(least_updates, most_epochs_of_few)});
    }
};
inline constexpr BestRecipe best_recipe;

/// What --recipe stands for: options and their values.
using RecipeValues = std::vector<std::pair<std::string, nlohmann::json>>;

/// --recipe, best by default.
inline void add_recipe_option(OptionTable& table, std::string& recipe, const std::string& best,
                              const std::string& ulmfit) {
    table.add("recipe", recipe,
              "what stands for options that are not given: best, the best known values (" + best +
                  "); ulmfit, those of Howard & Ruder 2018 (" + ulmfit + ")");
    table.choices("recipe", {"best", "ulmfit"});
}

/// After parse, of a run that begins.
inline void take_recipe(OptionTable& table, const RecipeValues& values) {
    for (const auto& [name, value] : values) table.set_default(name, value, Origin::recipe);
}

/// `finetune lm` that reads its text so many times. ulmfit: dropouts are the parent's.
inline RecipeValues language_model_recipe(const std::string& recipe, double passes) {
    const BestRecipe& best = best_recipe;
    if (recipe == "ulmfit") return {{"lr", 1e-3}, {"lr-schedule", "stlr"}, {"discriminative-factor", 2.6}};
    return {{"lr", best.text_rate},
            {"lr-schedule", "stlr"},
            {"discriminative-factor", best.text_factor},
            {"dropout", best.text_dropout_of(passes)}};
}

/// `finetune classifier` on so many rows; 0: not known yet. From scratch nothing is frozen, and all groups learn alike.
inline RecipeValues classifier_recipe(const std::string& recipe, std::uint64_t rows, bool from_scratch) {
    const BestRecipe& best = best_recipe;
    const bool published = recipe == "ulmfit";
    RecipeValues values{{"lr-schedule", "stlr"},
                        {"gradual-unfreezing", published && !from_scratch},
                        {"discriminative-factor", from_scratch ? 1.0
                                                  : published  ? 2.6
                                                               : best.factor},
                        {"lr", from_scratch ? best.scratch_rate
                               : published  ? 3e-3
                                            : best.rate}};
    if (!published) values.emplace_back("dropout", best.dropout);
    if (published || rows > 0) {
        values.emplace_back("epochs", published ? 8 : best.epochs_of(rows));
        values.emplace_back("global-batch-size", published ? 32 : best.batch_of(rows));
    }
    return values;
}

}  // namespace ulmpi
