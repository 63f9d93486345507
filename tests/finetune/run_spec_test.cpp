// What a run is, worked out from options and facts alone: no files, no ranks. Oracles: arithmetic by hand; what the
// checkpoint of a run says leads to the same run; what must not depend on the layout does not.

#include "training/run_spec.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "tests/finetune/run_requests.hpp"
#include "training/lineage.hpp"
#include "training/recipe.hpp"

namespace ulmpi {
namespace {

using namespace testing_runs;

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
    EXPECT_EQ(record_of(spec).data, (DataRecord{"d", 10001, 77}));
    EXPECT_EQ(record_of(spec).kind, "language-model");
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
    Facts later = gone_on(spec, facts_with(own));
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
    ModelConfig model = parent().model();
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
    EXPECT_EQ(record_of(head).classifier->classes, (std::vector<std::string>{"bad", "good"}));
}

TEST(RunSpecTest, ARunThatGoesOnIsTheRunThatBegan) {
    const Facts facts = with_parent(of_shards());
    const LanguageModelSpec before = resolve(language_model(domain_training(), domain + " --lr 0.5"), facts);
    const LanguageModelSpec after =
        resolve(language_model(domain_training(), "--data d --run r --init-from elsewhere"), gone_on(before, facts));
    EXPECT_TRUE(after.resumed);
    EXPECT_EQ(after.training.lr, 0.5);
    EXPECT_EQ(after.steps, 7u);
    EXPECT_EQ(after.parent, 123u);  // that of the beginning, not of the checkpoint it goes on from
    EXPECT_EQ(lineage_of(after), lineage_of(before));

    const ClassifierSpec first = resolve(texts_classifier(scratch + " --num-layers 3 --max-length 40"), of_sets());
    const ClassifierSpec second = resolve(texts_classifier("--train t.tsv --run r"), gone_on(first, of_sets()));
    EXPECT_EQ(lineage_of(second), lineage_of(first));
    EXPECT_EQ(second.max_length, 40u);
    EXPECT_FALSE(second.classifier.gradual_unfreezing);
}

// Runs of before texts were read whole say 0 among their options and the context in their head.
TEST(RunSpecTest, ARunThatCutAtItsContextGoesOnCutting) {
    const ClassifierSpec first = resolve(texts_classifier(classifier), with_parent(of_sets()));
    Facts facts = gone_on(first, with_parent(of_sets()));
    facts.source->record.classifier->max_length = 50;
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
    Facts facts = gone_on(before, of_shards());
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
    for (const char* layout : {"", " --tp 2", " --pp 2 --pipeline-schedule gpipe", " --pp 2 --pipeline-schedule zb-h1",
                               " --overlap-grad-reduce on", " --micro-batch-size 1"}) {
        const LanguageModelSpec spec = resolve(language_model(pretraining(), pretrain + layout), facts);
        EXPECT_EQ(spec.steps, alone.steps);
        EXPECT_EQ(spec.model, alone.model);
        EXPECT_EQ(lineage_of(spec), lineage_of(alone));
    }
}

TEST(RunSpecTest, TheFileOfARunAsksForTheSameRun) {
    const LanguageModelRequest asked = language_model(domain_training(), domain + " --lr 0.1 --resume never");
    Facts facts = with_parent(of_shards());
    facts.source->record.model->residual_dropout = 0;  // dropouts that a parent brings stand in no file
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
    EXPECT_EQ(record_of(same), record_of(spec));
}

TEST(RunSpecTest, FactsSurviveTheirWayToTheOtherRanks) {
    Facts facts = with_parent(of_shards());
    facts.ranks = 3;
    facts.source->record.options = {{"lr", 0.1}, {"epochs", nullptr}, {"names", {"\xff\xfe"}}};
    facts.sets = of_sets().sets;
    facts.sets["train"].classes.push_back("not \xc3 UTF-8");
    facts.inputs["data"] = ~std::uint64_t{0};
    EXPECT_EQ(facts_from(json::from_cbor(json::to_cbor(to_json(facts)))), facts);
    EXPECT_EQ(facts_from(to_json(Facts{})), Facts{});
}

}  // namespace
}  // namespace ulmpi
