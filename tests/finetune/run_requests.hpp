#pragma once
// Requests and facts for tests of what a run is.

#include <sstream>

#include "finetune/classifier_spec.hpp"
#include "pretrain/language_model_spec.hpp"

namespace ulmpi::testing_runs {

using nlohmann::json;

constexpr TokenizerFacts tokenizer{77, 300, 299};
inline const std::string small =
    " --seq-length 100 --global-batch-size 4 --threads-per-rank 1 --num-layers 2 --hidden-size 8"
    " --num-attention-heads 2";
inline const std::string pretrain = "--data d --run r --train-steps 7" + small;
inline const std::string domain = "--data d --run r --init-from lm --train-steps 7 --global-batch-size 4";
inline const std::string classifier = "--train t.tsv --run r --init-from lm --global-batch-size 4 --epochs 3";
inline const std::string scratch = "--train t.tsv --run r --tokenizer k.json --global-batch-size 4 --epochs 3";

inline std::vector<std::string> words(const std::string& text) {
    std::istringstream stream(text);
    std::vector<std::string> all;
    for (std::string word; stream >> word;) all.push_back(word);
    return all;
}

inline LanguageModelRequest language_model(const LanguageModelStage& stage, const std::string& arguments) {
    LanguageModelRequest asked(stage);
    asked.table.parse(words(arguments));
    return asked;
}
inline ClassifierRequest texts_classifier(const std::string& arguments) {
    ClassifierRequest asked;
    asked.table.parse(words(arguments));
    return asked;
}

/// 10001 tokens: 100 windows of 100.
inline Facts of_shards() {
    Facts facts{.threads = 2};
    facts.shards["data"] = {"d/shard-00000.h5", 10001, tokenizer};
    facts.inputs["data"] = 5;
    facts.tokenizer = tokenizer;
    return facts;
}
inline Facts of_sets() {
    Facts facts{.threads = 2};
    facts.sets["train"] = {{"bad", "good"}, 10, 90, 1, {20, 12, 9, 8, 8, 8, 7, 7, 6, 5}};
    facts.inputs["train"] = 6;
    facts.tokenizer = tokenizer;
    return facts;
}
inline CheckpointFacts parent() {
    ModelConfig model;
    model.layers = 3;
    model.hidden = 12;
    model.heads = 3;
    model.ffn = 48;
    model.context = 50;
    model.vocabulary = 300;
    model.end_of_text = 299;
    model.residual_dropout = 0.25;
    return {"lm/checkpoints/step-00000009.h5", 123, {.kind = language_model_kind, .model = model}};
}
inline Facts with_parent(Facts facts) {
    facts.source = parent();
    return facts;
}
/// Of a run that goes on from the checkpoint that a run of `spec` wrote.
template <class Spec>
Facts gone_on(const Spec& spec, Facts facts) {
    facts.source = CheckpointFacts{"r/checkpoints/step-00000002.h5", 999, record_of(spec)};
    facts.resumed = true;
    return facts;
}

}  // namespace ulmpi::testing_runs
