// What cannot be a run, and what is said of it.

#include <gtest/gtest.h>

#include <functional>

#include "base/error.hpp"
#include "tests/finetune/run_requests.hpp"

namespace ulmpi {
namespace {

using namespace testing_runs;

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

TEST(RunRefusalsTest, PretrainingSaysWhatCannotBe) {
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

TEST(RunRefusalsTest, ContinuingSaysWhatCannotBe) {
    const LanguageModelSpec before = resolve(language_model(pretraining(), pretrain), of_shards());
    expect_refusals(
        with_parent(of_shards()),
        {{domain,
          [](Facts& facts) { facts.source->record.kind = classifier_kind; },
          {"--init-from", "no language model"}},
         {domain,
          [](Facts& facts) { facts.shards["data"].tokenizer.fingerprint = 78; },
          {"d was made with another tokenizer than the model of lm/"}},
         {domain + " --tp 4", [](Facts& facts) { facts.ranks = 4; }, {"3 attention heads"}},
         {domain,
          [&](Facts& facts) { facts = gone_on(before, facts); },
          {"one of a run of ulmpi pretrain", "another --run"}}},
        [](const std::string& text, const Facts& facts) { resolve(language_model(domain_training(), text), facts); });
    expect_refusals(
        gone_on(before, of_shards()),
        {{pretrain + " --norm-eps 0.1", as_it_is, {"--norm-eps", "r/checkpoints/step-00000002.h5 has 1e-05"}},
         {pretrain,
          [](Facts& facts) { facts.inputs["data"] = 8; },
          {"--data d holds other data than the run began with"}}},
        [](const std::string& text, const Facts& facts) { resolve(language_model(pretraining(), text), facts); });
}

TEST(RunRefusalsTest, ClassifyingSaysWhatCannotBe) {
    const auto resolve_words = [](const std::string& text, const Facts& facts) {
        resolve(texts_classifier(text), facts);
    };
    expect_refusals(
        with_parent(of_sets()),
        {{classifier, [](Facts& facts) { facts.source->record.kind = classifier_kind; }, {"no language model"}},
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
    expect_refusals(gone_on(before, of_sets()),
                    {{"--train other.tsv --run r",
                      [](Facts& facts) { facts.inputs["train"] = 7; },
                      {"--train other.tsv holds other data than the run began with"}},
                     {"--train t.tsv --run r --ema 0.9", as_it_is, {"--ema", "began with 0.0: leave this out"}},
                     {"--train t.tsv --run r --reinit-blocks 1", as_it_is, {"--reinit-blocks", "began with 0"}},
                     {"--train t.tsv --run r --recipe ulmfit", as_it_is, {"--recipe", "began with best"}}},
                    resolve_words);
}

TEST(RunRefusalsTest, BeforeTheParentIsKnownItsShapeIsNotGuessed) {
    // --pp 5 is more than the default's layers, and less than this parent's may be.
    const LanguageModelRequest all = settled(language_model(domain_training(), domain + " --pp 5"), Facts{.ranks = 5});
    EXPECT_FALSE(model_of(all.table, all.options, Facts{}));
    EXPECT_NO_THROW(settled(texts_classifier(classifier + " --max-length 5000"), Facts{}));
    EXPECT_THROW(settled(language_model(pretraining(), pretrain + " --pp 5"), Facts{.ranks = 5}), UsageError);
}

}  // namespace
}  // namespace ulmpi
