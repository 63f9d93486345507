#include "pretrain/language_model_spec.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "training/recipe.hpp"

namespace ulmpi {

LanguageModelOptions::LanguageModelOptions(const LanguageModelStage& stage) {
    if (!stage.continues) return;
    training.lr = best_recipe.text_rate;
    training.lr_schedule = "stlr";
    factor = best_recipe.text_factor;
}

void LanguageModelOptions::declare(OptionTable& table, const LanguageModelStage& stage) {
    if (stage.continues)
        table.example("--init-from runs/wiki --data shards/domain --epochs 3 --run runs/domain");
    else
        table.example("--data shards/wiki --train-tokens 100000000 --lr 1e-3 --run runs/wiki");
    table.group("Data");
    table.add("data", data, "shards to train on (made by ulmpi data shards)", "DIR");
    table.required("data");
    table.add("valid", valid, "shards to evaluate on", "DIR");
    if (stage.continues) {
        table.add("init-from", init_from, "run or checkpoint that gives shape, weights and tokenizer", "RUN");
        table.required("init-from");
        add_recipe_option(
            table, recipe,
            fmt::format("slanted triangular rate of {}, factor {}, dropout {} of a text that is read more than {} "
                        "times",
                        best_recipe.text_rate, best_recipe.text_factor, best_recipe.text_dropout,
                        best_recipe.few_passes),
            "factor 2.6, the model's own dropout");
        table.add("discriminative-factor", factor, "each block learns this many times slower than the one above it");
        table.range("discriminative-factor", 0.01, 1000);
        table.add("transfer-vocabulary", transfer_vocabulary,
                  "for shards of another tokenizer, which the model takes over: known tokens keep their weights, each "
                  "other one begins as the mean of those that spell it");
        table.group("Model (its shape comes from --init-from)");
        add_dropout_options(table, shape);
    } else {
        add_shape_options(table, shape);
    }
    add_duration_options(table, training);
    add_optimizer_options(table, training);
    add_layout_options(table, layout);
    add_run_options(table, run);
}

LanguageModelRequest::LanguageModelRequest(const LanguageModelStage& which)
    : stage(which),
      options(which),
      table(which.command, which.continues
                               ? "Stage 2: continues a language model on the text of a domain, with slanted "
                                 "triangular and discriminative rates."
                               : "Stage 1: trains a language model on shards of tokens.") {
    options.declare(table, stage);
}

LanguageModelRequest::LanguageModelRequest(const LanguageModelRequest& other) : LanguageModelRequest(other.stage) {
    table.take(other.table);
}

namespace {

// Over the text, as was asked for: the last update may read a little more. 0 where the shards are not known yet.
double passes_of(const TrainingOptions& training, const Facts& facts) {
    const auto data = facts.shards.find("data");
    if (data == facts.shards.end() || !facts.source) return 0;
    if (training.epochs) return *training.epochs;
    const std::uint64_t update = training.global_batch * facts.source->model().context;
    const std::uint64_t read = training.tokens ? *training.tokens : *training.steps * update;
    return static_cast<double>(read) / static_cast<double>(data->second.tokens);
}

void settle_recipe(LanguageModelRequest& asked, const Facts& facts) {
    if (facts.resumed)
        keep_as_begun(asked.table, "recipe", "ulmfit", facts.source->record, facts.source->path);
    else
        take_recipe(asked.table, language_model_recipe(asked.options.recipe, passes_of(asked.options.training, facts)));
}

}  // namespace

LanguageModelRequest settled(const LanguageModelRequest& asked, const Facts& facts) {
    LanguageModelRequest settled = asked;
    take_source(settled.table, asked.stage.command, facts);
    if (facts.resumed && facts.source->model().recurrent())  // its states are those of so many streams
        keep_as_begun(settled.table, "global-batch-size", 16, facts.source->record, facts.source->path);
    check_duration(settled.options.training);
    if (asked.stage.continues) settle_recipe(settled, facts);
    check_early_stop(settled.options.run, settled.options.valid);
    check_options(settled.table, settled.options, facts);
    return settled;
}

void read_inputs(const LanguageModelRequest& asked, Facts& facts) {
    const LanguageModelRequest all = settled(asked, facts);
    for (const auto& [name, path] : {std::pair{"data", all.options.data}, {"valid", all.options.valid}}) {
        if (path.empty()) continue;
        const TokenDataset dataset(path, SealCheck::length);
        facts.shards[name] = facts_of(dataset);
        facts.inputs[name] = shards_fingerprint(dataset);
    }
    if (!facts.tokenizer) facts.tokenizer = facts.shards.at("data").tokenizer;
}

namespace {

void take_over_vocabulary(LanguageModelSpec& spec) {
    check_usage(spec.tokenizer.fingerprint != spec.shards.tokenizer.fingerprint,
                "--transfer-vocabulary: {} was made with the model's own tokenizer: leave it out", spec.data);
    spec.transfers_vocabulary = true;
    spec.tokenizer = spec.shards.tokenizer;
    spec.model.vocabulary = spec.tokenizer.vocabulary;
    spec.model.end_of_text = spec.tokenizer.end_of_text;
    check_model(spec.model);
    check_layout(spec.model, spec.layout.extents.pipeline, spec.layout.extents.tensor);
}

}  // namespace

LanguageModelSpec resolve(const LanguageModelRequest& asked, const Facts& facts) {
    const LanguageModelRequest all = settled(asked, facts);
    const LanguageModelOptions& o = all.options;
    LanguageModelSpec spec{resolve_run(asked.stage.command, all.table, o, facts), o.data, o.valid,
                           facts.shards.at("data"), o.factor};
    if (o.transfer_vocabulary && facts.source && !facts.resumed) take_over_vocabulary(spec);
    for (const auto& [name, shards] : facts.shards)
        check_usage(shards.tokenizer.fingerprint == spec.tokenizer.fingerprint,
                    "{} was made with another tokenizer than {}: make its shards again with the same "
                    "tokenizer.json{}",
                    name == "data" ? o.data : o.valid,
                    facts.source && !spec.transfers_vocabulary ? "the model of " + facts.source->path : o.data,
                    asked.stage.continues && name == "data" ? ", or give --transfer-vocabulary on" : "");
    const std::size_t length = spec.model.context;
    spec.steps = steps_of(o.training, windows_of(spec.shards.tokens, length, spec.shards.first_file), length);
    const int replicas = spec.layout.extents.data;
    check_usage(o.training.global_batch >= static_cast<std::size_t>(replicas),
                "--global-batch-size {} leaves some of the {} data-parallel replicas without a sequence",
                o.training.global_batch, replicas);
    spec.pass = pass_plan(o.training.global_batch, replicas,
                          fitted_micro_batch(o.layout.micro_batch, length, spec.layout.threads), length);
    spec.pass.streams = spec.model.recurrent() ? o.training.global_batch : 0;
    return spec;
}

RunRecord record_of(const LanguageModelSpec& spec) {
    RunRecord record = record_of(spec, language_model_kind);
    record.data = {spec.data, spec.shards.tokens, spec.shards.tokenizer.fingerprint};
    return record;
}

}  // namespace ulmpi
