// What a run is, worked out from options and facts alone: no files, no ranks. Oracles: arithmetic by hand; what the
// checkpoint of a run says leads to the same run; what must not depend on the layout does not.

#include "pretrain/run_spec.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <sstream>

#include "finetune/classifier_spec.hpp"
#include "parallel/error.hpp"
#include "pretrain/language_model_spec.hpp"
#include "pretrain/lineage.hpp"
#include "pretrain/recipe.hpp"

namespace ulmpi {
namespace {

using nlohmann::json;

constexpr TokenizerFacts tokenizer{77, 300, 299};
const std::string small =
    " --seq-length 100 --global-batch-size 4 --threads-per-rank 1 --num-layers 2 --hidden-size 8"
    " --num-attention-heads 2";
const std::string pretrain = "--data d --run r --train-steps 7" + small;
const std::string domain = "--data d --run r --init-from lm --train-steps 7 --global-batch-size 4";
const std::string classifier = "--train t.tsv --run r --init-from lm --global-batch-size 4 --epochs 3";
const std::string scratch = "--train t.tsv --run r --tokenizer k.json --global-batch-size 4 --epochs 3";

std::vector<std::string> words(const std::string& text) {
    std::istringstream stream(text);
    std::vector<std::string> all;
    for (std::string word; stream >> word;) all.push_back(word);
    return all;
}

LanguageModelRequest language_model(const LanguageModelStage& stage, const std::string& arguments) {
    LanguageModelRequest asked(stage);
    asked.table.parse(words(arguments));
    return asked;
}
ClassifierRequest texts_classifier(const std::string& arguments) {
    ClassifierRequest asked;
    asked.table.parse(words(arguments));
    return asked;
}

/// 10001 tokens: 100 windows of 100.
Facts of_shards() {
    Facts facts{.threads = 2};
    facts.shards["data"] = {"d/shard-00000.h5", 10001, tokenizer};
    facts.inputs["data"] = 5;
    facts.tokenizer = tokenizer;
    return facts;
}
Facts of_sets() {
    Facts facts{.threads = 2};
    facts.sets["train"] = {{"bad", "good"}, 10, 90, 1, {20, 12, 9, 8, 8, 8, 7, 7, 6, 5}};
    facts.inputs["train"] = 6;
    facts.tokenizer = tokenizer;
    return facts;
}
CheckpointFacts parent() {
    ModelConfig model;
    model.layers = 3;
    model.hidden = 12;
    model.heads = 3;
    model.ffn = 48;
    model.context = 50;
    model.vocabulary = 300;
    model.end_of_text = 299;
    model.residual_dropout = 0.25;
    return {"lm/checkpoints/step-00000009.h5", "language-model", model, 123, json::object()};
}
Facts with_parent(Facts facts) {
    facts.source = parent();
    return facts;
}
/// Of a run that goes on from the checkpoint that a run of `spec` wrote.
template <class Spec>
Facts gone_on(const Spec& spec, const std::string& kind, Facts facts) {
    facts.source = CheckpointFacts{"r/checkpoints/step-00000002.h5", kind, spec.model, 999, metadata_of(spec)};
    facts.resumed = true;
    return facts;
}

TEST(RunSpecTest, AStageWithoutAParentTakesItsShapeFromTheOptionsAndItsVocabularyFromTheData) {
    const LanguageModelSpec spec = resolve(language_model(pretraining(), pretrain + " --dropout 0.5"), of_shards());
    EXPECT_EQ(spec.command, "pretrain");
    EXPECT_EQ(spec.model.layers, 2u);
    EXPECT_EQ(spec.model.vocabulary, 300u);
    EXPECT_EQ(spec.model.end_of_text, 299);
    EXPECT_EQ(spec.model.attention_dropout, 0.5);
    EXPECT_EQ(spec.parent, std::nullopt);
    EXPECT_EQ(spec.factor, 1);
    EXPECT_FALSE(spec.head);
    EXPECT_EQ(metadata_of(spec)["data"], (json{{"path", "d"}, {"tokens", 10001}, {"fingerprint", 77}}));
    EXPECT_EQ(metadata_of(spec)["kind"], "language-model");
}

TEST(RunSpecTest, AVocabularyIsTakenOverWhenAsked) {
    const TokenizerFacts own{78, 280, 5};
    const auto facts_with = [&](const TokenizerFacts& of_shards_) {
        Facts facts = with_parent(of_shards());
        facts.shards["data"].tokenizer = of_shards_;
        return facts;
    };
    const auto refusal = [](const std::string& arguments, const Facts& facts) -> std::string {
        try {
            resolve(language_model(domain_training(), arguments), facts);
        } catch (const UsageError& error) {
            return error.what();
        }
        return "";
    };
    const LanguageModelSpec spec =
        resolve(language_model(domain_training(), domain + " --transfer-vocabulary"), facts_with(own));
    EXPECT_TRUE(spec.transfers_vocabulary);
    EXPECT_EQ(spec.tokenizer, own);
    EXPECT_EQ(spec.model.vocabulary, 280u);
    EXPECT_EQ(spec.model.end_of_text, 5);
    EXPECT_EQ(spec.model.hidden, 12u);
    // It is settled by parent and data, so that runs from before there was a choice keep their lineage.
    EXPECT_FALSE(lineage_of(spec)["options"].contains("transfer-vocabulary"));
    // The run that goes on has taken it over already.
    Facts later = gone_on(spec, "language-model", facts_with(own));
    later.tokenizer = own;
    const LanguageModelSpec resumed = resolve(language_model(domain_training(), domain), later);
    EXPECT_FALSE(resumed.transfers_vocabulary);
    EXPECT_EQ(resumed.model.vocabulary, 280u);

    EXPECT_NE(refusal(domain, facts_with(own)).find("or give --transfer-vocabulary on"), std::string::npos);
    EXPECT_NE(refusal(domain + " --transfer-vocabulary", facts_with(tokenizer)).find("the model's own tokenizer"),
              std::string::npos);
    Facts mixed = facts_with(own);
    mixed.shards["valid"] = {"v/shard-00000.h5", 1000, tokenizer};
    EXPECT_NE(
        refusal(domain + " --valid v --transfer-vocabulary", mixed).find("v was made with another tokenizer than d"),
        std::string::npos);
}

TEST(RunSpecTest, TheLengthIsCountedInUpdates) {
    for (const auto& [length, steps] : std::vector<std::pair<std::string, std::uint64_t>>{
             {"--train-steps 7 --seq-length 100", 7},
             {"--train-tokens 20000 --seq-length 100", 50},  // of 4 x 100
             {"--train-tokens 20001 --seq-length 100", 51},
             {"--epochs 2 --seq-length 100", 50},     // of 100 windows, 4 an update
             {"--epochs 0.5 --seq-length 1000", 2}})  // of 10
        EXPECT_EQ(
            resolve(language_model(pretraining(), "--data d --run r --global-batch-size 4 " + length), of_shards())
                .steps,
            steps)
            << length;
    EXPECT_EQ(resolve(texts_classifier(scratch), of_sets()).steps, 9u);  // 3 x ceil(10 / 4)
}

TEST(RunSpecTest, AReplicasShareIsCutIntoMicroBatches) {
    struct Case {
        std::string arguments;
        int ranks, data;
        std::size_t sequences;
        int micro_batches;
    };
    for (const Case& c :
         std::vector<Case>{{" --micro-batch-size 8", 1, 1, 4, 1},  // no more than the batch has
                           {" --micro-batch-size 3", 1, 1, 3, 2},
                           {" --micro-batch-size 1", 2, 2, 1, 2},
                           {" --micro-batch-size 8 --tp 2", 6, 3, 2, 1},  // of 4 sequences over 3 replicas one has 2
                           {" --micro-batch-size 1 --pp 2", 2, 1, 1, 4}}) {
        Facts facts = of_shards();
        facts.ranks = c.ranks;
        const LanguageModelSpec spec = resolve(language_model(pretraining(), pretrain + c.arguments), facts);
        EXPECT_EQ(spec.layout.extents.data, c.data) << c.arguments;
        EXPECT_EQ(spec.pass.sequences, c.sequences) << c.arguments;
        EXPECT_EQ(spec.pass.micro_batches, c.micro_batches) << c.arguments;
        EXPECT_EQ(spec.pass.length, 100u);
    }
    const ClassifierSpec spec = resolve(texts_classifier(scratch + " --max-length 60"), of_sets());
    EXPECT_EQ(spec.pass.length, 60u);
    EXPECT_EQ(spec.classifier.micro_batch, 4u);
    EXPECT_EQ(spec.layout.threads, 2);  // as the machine has it
}

TEST(RunSpecTest, AParentBringsTheShapeAndTheStageItsDefaults) {
    const LanguageModelSpec spec =
        resolve(language_model(domain_training(), domain + " --attention-dropout 0.5"), with_parent(of_shards()));
    ModelConfig model = parent().model;
    model.attention_dropout = 0.5;  // given; the others are the recipe's: none of a text that is read once
    model.embedding_dropout = model.residual_dropout = 0;
    EXPECT_EQ(spec.model, model);
    EXPECT_FALSE(spec.options.contains("num-layers"));  // no option of this command
    EXPECT_EQ(spec.training.lr_schedule, "stlr");
    EXPECT_EQ(spec.factor, 1.3);
    EXPECT_EQ(spec.parent, 123u);
    EXPECT_EQ(spec.pass.length, 50u);

    const ClassifierSpec head =
        resolve(texts_classifier(classifier + " --pooling max --class-weights balanced"), with_parent(of_sets()));
    model.embedding_dropout = model.attention_dropout = model.residual_dropout = best_recipe.dropout;
    EXPECT_EQ(head.model, model);
    EXPECT_EQ(head.options["num-layers"], 3);
    EXPECT_EQ(head.max_length, 0u);  // whole, in chunks of the context
    EXPECT_EQ(head.pass.length, 50u);
    EXPECT_EQ(head.pass.chunks, 0u);
    ASSERT_TRUE(head.head);
    EXPECT_EQ(head.head->classes, 2u);
    EXPECT_EQ(head.head->pooling, Pooling::max);
    EXPECT_TRUE(!head.classifier.gradual_unfreezing && head.balanced);
    EXPECT_EQ(head.classifier.padding, 299);
    EXPECT_EQ(metadata_of(head)["classifier"]["classes"], (json{"bad", "good"}));
}

TEST(RunSpecTest, FromScratchNothingIsFrozenUnlessItIsAskedFor) {
    const ClassifierSpec honest = resolve(texts_classifier(scratch), of_sets());
    EXPECT_FALSE(honest.classifier.gradual_unfreezing);
    EXPECT_EQ(honest.classifier.discriminative_factor, 1);
    EXPECT_EQ(honest.training.lr, 1e-3);
    const ClassifierSpec asked = resolve(texts_classifier(scratch + " --gradual-unfreezing on --lr 0.5"), of_sets());
    EXPECT_TRUE(asked.classifier.gradual_unfreezing);
    EXPECT_EQ(asked.training.lr, 0.5);
}

TEST(RunSpecTest, ARecipeStandsForWhatIsNotGiven) {
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
    EXPECT_EQ(published.model, parent().model);  // its dropouts too

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
    EXPECT_EQ(text.model, parent().model);
    // 10,001 tokens in windows of 50, four at a time.
    for (const auto& [length, dropout] : {std::pair{"--train-steps 100", 0.0},
                                          {"--train-steps 101", 0.1},
                                          {"--epochs 2", 0.0},
                                          {"--epochs 3", 0.1},
                                          {"--train-tokens 20000", 0.0},
                                          {"--train-tokens 20100", 0.1},
                                          {"--epochs 3 --dropout 0", 0.0},
                                          {"--epochs 1 --dropout 0.3", 0.3}}) {
        const std::string asked = std::string("--data d --run r --init-from lm --global-batch-size 4 ") + length;
        EXPECT_EQ(resolve(language_model(domain_training(), asked), with_parent(of_shards())).model.residual_dropout,
                  dropout)
            << length;
    }
}

// What it stood for when the run began, whatever it has come to stand for: here a checkpoint that says other values.
TEST(RunSpecTest, ARunGoesOnWithWhatItsRecipeMeant) {
    const ClassifierSpec first =
        resolve(texts_classifier("--train t.tsv --run r --init-from lm"), with_parent(of_sets()));
    Facts facts = gone_on(first, "classifier", with_parent(of_sets()));
    json& options = facts.source->metadata["options"];
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

TEST(RunSpecTest, FewerRowsMoreEpochs) {
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

TEST(RunSpecTest, ARunThatGoesOnIsTheRunThatBegan) {
    const Facts facts = with_parent(of_shards());
    const LanguageModelSpec before = resolve(language_model(domain_training(), domain + " --lr 0.5"), facts);
    const LanguageModelSpec after = resolve(language_model(domain_training(), "--data d --run r --init-from elsewhere"),
                                            gone_on(before, "language-model", facts));
    EXPECT_TRUE(after.resumed);
    EXPECT_EQ(after.training.lr, 0.5);
    EXPECT_EQ(after.steps, 7u);
    EXPECT_EQ(after.parent, 123u);  // that of the beginning, not of the checkpoint it goes on from
    EXPECT_EQ(lineage_of(after), lineage_of(before));

    const ClassifierSpec first = resolve(texts_classifier(scratch + " --num-layers 3 --max-length 40"), of_sets());
    const ClassifierSpec second =
        resolve(texts_classifier("--train t.tsv --run r"), gone_on(first, "classifier", of_sets()));
    EXPECT_EQ(lineage_of(second), lineage_of(first));
    EXPECT_EQ(second.max_length, 40u);
    EXPECT_FALSE(second.classifier.gradual_unfreezing);
}

// Runs of before texts were read whole say 0 among their options and the context in their head.
TEST(RunSpecTest, ARunThatCutAtItsContextGoesOnCutting) {
    const ClassifierSpec first = resolve(texts_classifier(classifier), with_parent(of_sets()));
    Facts facts = gone_on(first, "classifier", with_parent(of_sets()));
    facts.source->metadata["classifier"]["max_length"] = 50;
    EXPECT_EQ(resolve(texts_classifier("--train t.tsv --run r"), facts).max_length, 50u);
}

// 10 records, of which a replica of two has 5 at most: the longest take 3, 2, 1, 1, 1 chunks of 50 tokens.
TEST(RunSpecTest, LongTextsArePlannedInChunks) {
    Facts facts = with_parent(of_sets());
    facts.ranks = 2;
    facts.sets["train"].longest = {100, 75, 50, 50, 50, 50, 50, 50, 50, 50};
    const ClassifierSpec spec = resolve(
        texts_classifier("--train t.tsv --run r --init-from lm --global-batch-size 10 --micro-batch-size 4"), facts);
    EXPECT_EQ(spec.pass.sequences, 4u);
    EXPECT_EQ(spec.pass.length, 50u);
    EXPECT_EQ(spec.pass.chunks, 8u);
}

TEST(RunSpecTest, WhatIsGivenWinsOverWhatTheCheckpointSays) {
    const LanguageModelSpec before = resolve(language_model(pretraining(), pretrain + " --lr 0.5 --tp 2"), [] {
        Facts facts = of_shards();
        facts.ranks = 2;
        return facts;
    }());
    Facts facts = gone_on(before, "language-model", of_shards());
    facts.ranks = 3;  // the split of the model does not divide them
    const LanguageModelSpec after =
        resolve(language_model(pretraining(), "--data d --run r --lr 0.25 --train-tokens 4000"), facts);
    EXPECT_EQ(after.training.lr, 0.25);
    EXPECT_EQ(after.steps, 10u);  // in another unit
    EXPECT_EQ(after.layout.extents.data, 3);
    EXPECT_EQ(after.options["tensor-parallel-size"], 1);
}

TEST(RunSpecTest, WhatIsLearnedDoesNotDependOnTheLayout) {
    const LanguageModelSpec alone = resolve(language_model(pretraining(), pretrain), of_shards());
    Facts facts = of_shards();
    facts.ranks = 4;
    facts.threads = 9;
    for (const char* layout : {"", " --tp 2", " --pp 2 --pipeline-schedule gpipe", " --micro-batch-size 1"}) {
        const LanguageModelSpec spec = resolve(language_model(pretraining(), pretrain + layout), facts);
        EXPECT_EQ(spec.steps, alone.steps);
        EXPECT_EQ(spec.model, alone.model);
        EXPECT_EQ(lineage_of(spec), lineage_of(alone));
    }
}

TEST(RunSpecTest, TheFileOfARunAsksForTheSameRun) {
    const LanguageModelRequest asked = language_model(domain_training(), domain + " --lr 0.1 --resume never");
    Facts facts = with_parent(of_shards());
    facts.source->model.residual_dropout = 0;  // dropouts that a parent brings stand in no file
    const LanguageModelSpec spec = resolve(asked, facts);
    EXPECT_EQ(asked.options.training.lr, 0.1);
    EXPECT_EQ(asked.table.origin("adam-eps"), Origin::built_in);  // resolving changes nothing of what was asked
    EXPECT_EQ(resolve(asked, facts).ini, spec.ini);
    std::istringstream file(spec.ini);
    std::vector<std::string> arguments;
    for (std::string line; std::getline(file, line);)
        if (const std::size_t at = line.find(" = "); at != std::string::npos && line[0] != '#')
            arguments.push_back("--" + line.substr(0, at) + "=" + line.substr(at + 3));
    LanguageModelRequest again(domain_training());
    again.table.parse(arguments);
    const LanguageModelSpec same = resolve(again, facts);
    EXPECT_EQ(same.options, spec.options);
    EXPECT_EQ(metadata_of(same), metadata_of(spec));
}

TEST(RunSpecTest, FactsSurviveTheirWayToTheOtherRanks) {
    Facts facts = with_parent(of_shards());
    facts.ranks = 3;
    facts.source->metadata = {{"options", {{"lr", 0.1}, {"epochs", nullptr}}}, {"names", {"\xff\xfe"}}};
    facts.sets = of_sets().sets;
    facts.sets["train"].classes.push_back("not \xc3 UTF-8");
    facts.inputs["data"] = ~std::uint64_t{0};
    EXPECT_EQ(facts_from(json::from_cbor(json::to_cbor(to_json(facts)))), facts);
    EXPECT_EQ(facts_from(to_json(Facts{})), Facts{});
}

/// Of a command and the facts, what must be said.
struct Refusal {
    std::string arguments;
    std::function<void(Facts&)> change;
    std::vector<std::string> said;
};
const auto as_it_is = [](Facts&) {};

template <class Resolve>
void expect_refusals(const Facts& facts, const std::vector<Refusal>& refusals, Resolve resolve_words) {
    for (const Refusal& refusal : refusals) {
        Facts changed = facts;
        refusal.change(changed);
        std::string said = "nothing";
        try {
            resolve_words(refusal.arguments, changed);
        } catch (const UsageError& error) {
            said = error.what();
        }
        for (const std::string& part : refusal.said)
            EXPECT_NE(said.find(part), std::string::npos) << refusal.arguments << ": " << said;
    }
}

TEST(RunSpecTest, PretrainingSaysWhatCannotBe) {
    const auto ranks = [](int count) { return [count](Facts& facts) { facts.ranks = count; }; };
    expect_refusals(
        of_shards(),
        {{"--data d --run r" + small, as_it_is, {"--train-steps, --train-tokens, --epochs"}},
         {pretrain + " --epochs 2", as_it_is, {"--train-steps, --train-tokens, --epochs"}},
         {pretrain + " --save-interval 2weeks", as_it_is, {"--save-interval", "30m"}},
         {pretrain + " --walltime soon", as_it_is, {"--walltime"}},
         {"--data d --run r --train-steps 1 --hidden-size 10 --num-attention-heads 3",
          as_it_is,
          {"--num-attention-heads 3 does not divide --hidden-size 10"}},
         {pretrain + " --tp 3", ranks(2), {"--tensor-parallel-size 3", "2 attention heads"}},
         {pretrain + " --pp 3", ranks(3), {"--pipeline-parallel-size 3", "2 layers"}},
         {pretrain + " --tp 2", ranks(3), {"needs a multiple of 2 ranks, but 3 are running"}},
         {pretrain, ranks(5), {"--global-batch-size 4", "5 data-parallel replicas"}},
         {"--data d --run r --train-steps 1 --seq-length 10001", as_it_is, {"d/shard-00000.h5", "--seq-length"}},
         {pretrain + " --valid v",
          [](Facts& facts) {
              facts.shards["valid"] = {"v", 5000, {78, 300, 299}};
          },
          {"v was made with another tokenizer than d"}}},
        [](const std::string& text, const Facts& facts) { resolve(language_model(pretraining(), text), facts); });
}

TEST(RunSpecTest, ContinuingSaysWhatCannotBe) {
    const LanguageModelSpec before = resolve(language_model(pretraining(), pretrain), of_shards());
    expect_refusals(
        with_parent(of_shards()),
        {{domain, [](Facts& facts) { facts.source->kind = "classifier"; }, {"--init-from", "no language model"}},
         {domain,
          [](Facts& facts) { facts.shards["data"].tokenizer.fingerprint = 78; },
          {"d was made with another tokenizer than the model of lm/"}},
         {domain + " --tp 4", [](Facts& facts) { facts.ranks = 4; }, {"3 attention heads"}},
         {domain,
          [&](Facts& facts) { facts = gone_on(before, "language-model", facts); },
          {"one of a run of ulmpi pretrain", "another --run"}}},
        [](const std::string& text, const Facts& facts) { resolve(language_model(domain_training(), text), facts); });
    expect_refusals(
        gone_on(before, "language-model", of_shards()),
        {{pretrain + " --norm-eps 0.1", as_it_is, {"--norm-eps", "r/checkpoints/step-00000002.h5 has 1e-05"}},
         {pretrain,
          [](Facts& facts) { facts.inputs["data"] = 8; },
          {"--data d holds other data than the run began with"}}},
        [](const std::string& text, const Facts& facts) { resolve(language_model(pretraining(), text), facts); });
}

TEST(RunSpecTest, ClassifyingSaysWhatCannotBe) {
    const auto resolve_words = [](const std::string& text, const Facts& facts) {
        resolve(texts_classifier(text), facts);
    };
    expect_refusals(
        with_parent(of_sets()),
        {{classifier, [](Facts& facts) { facts.source->kind = "classifier"; }, {"no language model"}},
         {classifier + " --tokenizer k.json", as_it_is, {"leave --tokenizer out"}},
         {classifier + " --num-layers 2", as_it_is, {"--num-layers", "has 3"}},
         {classifier + " --head-normalization batchnorm",
          [](Facts& facts) { facts.sets["train"].longest.front() = 51; },
          {"batchnorm", "50 tokens", "t.tsv has one of 51", "--max-length 50"}},
         {classifier + " --reinit-blocks 4", as_it_is, {"--reinit-blocks", "has 3 blocks, not 4"}},
         {classifier + " --early-stop 2", as_it_is, {"--early-stop", "--valid and --eval-interval"}},
         {classifier + " --early-stop 2 --eval-interval 2", as_it_is, {"--valid and --eval-interval"}},
         {classifier, [](Facts& facts) { facts.sets["train"].classes = {"good"}; }, {"t.tsv has one class alone"}}},
        resolve_words);
    expect_refusals(of_sets(),
                    {{"--train t.tsv --run r", as_it_is, {"--init-from", "--tokenizer"}},
                     {scratch + " --reinit-blocks 1", as_it_is, {"--reinit-blocks", "from scratch"}},
                     {scratch + " --pp 5", [](Facts& facts) { facts.ranks = 5; }, {"4 layers"}}},
                    resolve_words);
    const ClassifierSpec before = resolve(texts_classifier(scratch), of_sets());
    expect_refusals(gone_on(before, "classifier", of_sets()),
                    {{"--train other.tsv --run r",
                      [](Facts& facts) { facts.inputs["train"] = 7; },
                      {"--train other.tsv holds other data than the run began with"}},
                     {"--train t.tsv --run r --ema 0.9", as_it_is, {"--ema", "began with 0.0: leave this out"}},
                     {"--train t.tsv --run r --reinit-blocks 1", as_it_is, {"--reinit-blocks", "began with 0"}},
                     {"--train t.tsv --run r --recipe ulmfit", as_it_is, {"--recipe", "began with best"}}},
                    resolve_words);
}

TEST(RunSpecTest, BeforeTheParentIsKnownItsShapeIsNotGuessed) {
    // --pp 5 is more than the default's layers, and less than this parent's may be.
    const LanguageModelRequest all = settled(language_model(domain_training(), domain + " --pp 5"), Facts{.ranks = 5});
    EXPECT_FALSE(model_of(all.table, all.options, Facts{}));
    EXPECT_NO_THROW(settled(texts_classifier(classifier + " --max-length 5000"), Facts{}));
    EXPECT_THROW(settled(language_model(pretraining(), pretrain + " --pp 5"), Facts{.ranks = 5}), UsageError);
}

}  // namespace
}  // namespace ulmpi
