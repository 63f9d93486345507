// What stands for options that are not given. Oracle: the values of the recipe's table, arithmetic by hand.

#include "training/recipe.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/finetune/run_requests.hpp"

namespace ulmpi {
namespace {

using namespace testing_runs;

TEST(RecipeTest, FromScratchNothingIsFrozenUnlessItIsAskedFor) {
    const ClassifierSpec honest = resolve(texts_classifier(scratch), of_sets());
    EXPECT_FALSE(honest.classifier.gradual_unfreezing);
    EXPECT_EQ(honest.classifier.discriminative_factor, 1);
    EXPECT_EQ(honest.training.lr, 1e-3);
    const ClassifierSpec asked = resolve(texts_classifier(scratch + " --gradual-unfreezing on --lr 0.5"), of_sets());
    EXPECT_TRUE(asked.classifier.gradual_unfreezing);
    EXPECT_EQ(asked.training.lr, 0.5);
}

TEST(RecipeTest, ARecipeStandsForWhatIsNotGiven) {
    const std::string bare = "--train t.tsv --run r --init-from lm ";
    const auto spec_of = [&](const std::string& more) {
        return resolve(texts_classifier(bare + more), with_parent(of_sets()));
    };
    const ClassifierSpec best = spec_of("");
    EXPECT_FALSE(best.classifier.gradual_unfreezing);
    EXPECT_EQ(best.classifier.discriminative_factor, 1.3);
    EXPECT_EQ(best.training.lr, 5e-4);
    EXPECT_EQ(best.training.global_batch, 16u);
    EXPECT_EQ(best.model.residual_dropout, 0.1);
    EXPECT_EQ(best.classifier.epochs, best_recipe.epochs_of(10));
    EXPECT_EQ(best.options["epochs"], best.classifier.epochs);
    EXPECT_EQ(best.options["dropout"], 0.1);
    EXPECT_EQ(best.options["recipe"], "best");

    const ClassifierSpec published = spec_of("--recipe ulmfit");
    EXPECT_TRUE(published.classifier.gradual_unfreezing);
    EXPECT_EQ(published.classifier.discriminative_factor, 2.6);
    EXPECT_EQ(published.training.lr, 3e-3);
    EXPECT_EQ(published.training.global_batch, 32u);
    EXPECT_EQ(published.classifier.epochs, 8);
    EXPECT_EQ(published.model, parent().model());  // its dropouts too

    const ClassifierSpec given = spec_of("--recipe ulmfit --lr 0.5 --epochs 2 --gradual-unfreezing off --dropout 0.4");
    EXPECT_FALSE(given.classifier.gradual_unfreezing);
    EXPECT_EQ(given.training.lr, 0.5);
    EXPECT_EQ(given.classifier.epochs, 2);
    EXPECT_EQ(given.model.residual_dropout, 0.4);
    EXPECT_EQ(spec_of("--dropout 0.4").model.residual_dropout, 0.4);

    Facts large = with_parent(of_sets());
    large.sets["train"].records = best_recipe.large_set;
    EXPECT_EQ(resolve(texts_classifier(bare), large).training.global_batch, 32u);

    const LanguageModelSpec text =
        resolve(language_model(domain_training(), domain + " --recipe ulmfit"), with_parent(of_shards()));
    EXPECT_EQ(text.factor, 2.6);
    EXPECT_EQ(text.model, parent().model());
    // 10,001 tokens in windows of 50. What the last update reads beyond two passes does not count.
    for (const auto& [asked, dropout] : {std::pair{"--global-batch-size 4 --train-steps 100", 0.0},
                                         {"--global-batch-size 4 --train-steps 101", 0.1},
                                         {"--global-batch-size 4 --epochs 2", 0.0},
                                         {"--global-batch-size 3 --epochs 2", 0.0},
                                         {"--global-batch-size 4 --epochs 2.1", 0.1},
                                         {"--global-batch-size 3 --train-tokens 20002", 0.0},
                                         {"--global-batch-size 3 --train-tokens 20003", 0.1},
                                         {"--epochs 3 --dropout 0", 0.0},
                                         {"--epochs 1 --dropout 0.3", 0.3}}) {
        const LanguageModelRequest request =
            language_model(domain_training(), std::string("--data d --run r --init-from lm ") + asked);
        EXPECT_EQ(resolve(request, with_parent(of_shards())).model.residual_dropout, dropout) << asked;
    }
}

// What it stood for when the run began, whatever it has come to stand for: here a checkpoint that says other values.
TEST(RecipeTest, ARunGoesOnWithWhatItsRecipeMeant) {
    const ClassifierSpec first =
        resolve(texts_classifier("--train t.tsv --run r --init-from lm"), with_parent(of_sets()));
    Facts facts = gone_on(first, with_parent(of_sets()));
    json& options = facts.source->record.options;
    options.update({{"lr", 0.007}, {"epochs", 77}, {"gradual-unfreezing", true}});
    const ClassifierSpec second = resolve(texts_classifier("--train t.tsv --run r --recipe best"), facts);
    EXPECT_EQ(second.training.lr, 0.007);
    EXPECT_EQ(second.classifier.epochs, 77);
    EXPECT_TRUE(second.classifier.gradual_unfreezing);
    EXPECT_EQ(second.model, first.model);

    for (const char* name : {"recipe", "ema", "label-smoothing", "reinit-blocks", "early-stop"})
        options.erase(name);  // one of old
    const ClassifierSpec old = resolve(texts_classifier("--train t.tsv --run r"), facts);
    EXPECT_EQ(old.options["recipe"], "ulmfit");
    EXPECT_EQ(old.training.lr, 0.007);
}

TEST(RecipeTest, FewerRowsMoreEpochs) {
    const auto updates = [](std::uint64_t rows) {
        return (rows + 15) / 16 * static_cast<std::uint64_t>(best_recipe.epochs_of(rows));
    };
    for (const auto& [rows, epochs] : std::vector<std::pair<std::uint64_t, int>>{
             {1, 150}, {20, 150}, {100, 43}, {500, 15}, {1000, 15}, {2000, 15}, {5452, 8}, {25000, 3}, {1000000, 3}})
        EXPECT_EQ(best_recipe.epochs_of(rows), epochs) << rows;
    for (std::uint64_t rows = 1; rows < 30000; ++rows) {
        EXPECT_GE(best_recipe.epochs_of(rows), best_recipe.epochs_of(rows + 1)) << rows;
        if (rows > 16) {
            EXPECT_GE(updates(rows), 300u) << rows;
        }
    }
}

}  // namespace
}  // namespace ulmpi
