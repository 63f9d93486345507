#include "training/training_options.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "training/profile.hpp"
#include "training/wall_clock.hpp"

namespace ulmpi {
namespace {

// The options that say the shape of a model, and what its description calls them.
const std::vector<std::pair<const char*, const char*>>& shape_fields() {
    static const std::vector<std::pair<const char*, const char*>> fields{{"architecture", "architecture"},
                                                                         {"num-layers", "layers"},
                                                                         {"embedding-size", "embedding"},
                                                                         {"hidden-size", "hidden"},
                                                                         {"num-attention-heads", "heads"},
                                                                         {"num-query-groups", "query_groups"},
                                                                         {"ffn-hidden-size", "ffn"},
                                                                         {"seq-length", "context"},
                                                                         {"layer-preprocess", "preprocess"},
                                                                         {"layer-postprocess", "postprocess"},
                                                                         {"normalization", "normalization"},
                                                                         {"activation", "activation"},
                                                                         {"position-embedding", "position"},
                                                                         {"tie-embeddings", "tied"},
                                                                         {"linear-bias", "linear_bias"},
                                                                         {"norm-eps", "norm_eps"},
                                                                         {"zero-residual-init", "zero_residual_init"},
                                                                         {"mask-documents", "mask_documents"}};
    return fields;
}

/// What is dropped or held small in training, each by an option of its own.
struct Regularizer {
    const char* option;
    std::optional<double> ShapeOptions::*given;
    double ModelConfig::*value;
    bool follows_dropout;  ///< --dropout stands for it
    bool of_decoder, of_awd_lstm;
    bool of(Architecture a) const { return a == Architecture::awd_lstm ? of_awd_lstm : of_decoder; }
};
constexpr Regularizer regularizers[]{
    {"embedding-dropout", &ShapeOptions::embedding_dropout, &ModelConfig::embedding_dropout, true, true, true},
    {"attention-dropout", &ShapeOptions::attention_dropout, &ModelConfig::attention_dropout, true, true, false},
    {"residual-dropout", &ShapeOptions::residual_dropout, &ModelConfig::residual_dropout, true, true, false},
    {"input-dropout", &ShapeOptions::input_dropout, &ModelConfig::input_dropout, true, false, true},
    {"hidden-dropout", &ShapeOptions::hidden_dropout, &ModelConfig::hidden_dropout, true, false, true},
    {"output-dropout", &ShapeOptions::output_dropout, &ModelConfig::output_dropout, true, false, true},
    {"weight-dropout", &ShapeOptions::weight_dropout, &ModelConfig::weight_dropout, false, false, true},
    {"activation-reg", &ShapeOptions::activation_reg, &ModelConfig::activation_reg, false, false, true},
    {"temporal-reg", &ShapeOptions::temporal_reg, &ModelConfig::temporal_reg, false, false, true}};

// Beside the regularisers.
constexpr const char* of_decoder_alone[]{"num-attention-heads", "num-query-groups",  "ffn-hidden-size",
                                         "layer-preprocess",    "layer-postprocess", "normalization",
                                         "activation",          "tie-embeddings",    "position-embedding",
                                         "linear-bias",         "norm-eps",          "zero-residual-init",
                                         "mask-documents"};
constexpr const char* of_awd_lstm_alone[]{"embedding-size"};

}  // namespace

void add_duration_options(OptionTable& table, TrainingOptions& o) {
    table.group("Training");
    table.add("train-steps", o.steps, "length of the run", "updates");
    table.range("train-steps", 1, 1e12);
    table.add("train-tokens", o.tokens, "or: length of the run", "tokens");
    table.range("train-tokens", 1, 1e15);
    table.add("epochs", o.epochs, "or: length of the run", "passes over the data");
    table.range("epochs", 0.001, 1e6);
}

void add_optimizer_options(OptionTable& table, TrainingOptions& o) {
    table.add("global-batch-size", o.global_batch, "sequences per update, over all replicas and micro-batches",
              "sequences");
    table.range("global-batch-size", 1, 1 << 24);
    table.add("lr", o.lr, "peak learning rate");
    table.range("lr", 0, 1000);
    table.add("min-lr", o.min_lr, "learning rate at the end");
    table.range("min-lr", 0, 1000);
    table.add("lr-schedule", o.lr_schedule, "course of the learning rate");
    table.choices("lr-schedule", {"cosine", "linear", "constant", "inv-sqrt", "wsd", "stlr"});
    table.add("warmup-steps", o.warmup_steps, "linear rise to the peak at the beginning", "updates");
    table.range("warmup-steps", 0, 1e12);
    table.add("optimizer", o.optimizer, "muon: the matrices of blocks by orthogonalised momentum, all else by AdamW");
    table.choices("optimizer", {"adamw", "muon"});
    table.add("weight-decay", o.adamw.weight_decay, "decoupled, of matrices and embeddings");
    table.range("weight-decay", 0, 100);
    table.add("adam-beta1", o.adamw.beta1, "decay of the first moment");
    table.range("adam-beta1", 0, 0.9999999);
    table.add("adam-beta2", o.adamw.beta2, "decay of the second moment");
    table.range("adam-beta2", 0, 0.9999999);
    table.add("adam-eps", o.adamw.eps, "added to the root of the second moment");
    table.range("adam-eps", 0, 1);
    table.add("clip-grad", o.clip_grad, "largest global gradient norm; 0: no clipping");
    table.range("clip-grad", 0, 1e9);
    table.add("ema", o.ema,
              "decay of a moving average of the weights, over the updates; it is what is evaluated and saved as the "
              "model, and training goes on with the weights beside it; 0: none");
    table.range("ema", 0, 0.9999999);
    table.add("seed", o.seed, "of weights, order of reading (but awd-lstm's, which reads on) and dropout");
}

void add_run_options(OptionTable& table, RunOptions& o) {
    table.group("Run");
    table.add("run", o.run, "folder of this run: checkpoints, metrics.jsonl, config.ini, tokenizer.json", "DIR");
    table.required("run");
    table.add("resume", o.resume, "auto: go on from the newest complete checkpoint in DIR; never; or a checkpoint");
    table.add("save-interval", o.save_interval, "updates between checkpoints, or time: 30m, 2h; 0: at the end alone");
    table.add(
        "save-mode", o.save_mode,
        "async: the run goes on while a checkpoint is written, which takes memory for a copy of weights and moments");
    table.choices("save-mode", {"sync", "async"});
    table.add("keep-last", o.keep_last, "newest checkpoints to keep, beside the best of the evaluations in between",
              "checkpoints");
    table.range("keep-last", 1, 1e9);
    table.add("keep-every", o.keep_every, "keep those whose step is a multiple of this for good; 0: none", "updates");
    table.add("eval-interval", o.eval_interval, "updates between evaluations; 0: at the end alone", "updates");
    table.add(
        "early-stop", o.early_stop,
        "end when so many evaluations in a row were no better on --valid; the model is then, as at the end of such "
        "a run in any case, that of the best; 0: off",
        "evaluations");
    table.add("log-interval", o.log_interval, "updates between lines of metrics", "updates");
    table.range("log-interval", 1, 1e9);
    table.add(
        "walltime", o.walltime,
        "of this job: auto (Slurm's end of it, if there is one), none, or from its start 90s, 30m, 2h; a checkpoint is "
        "saved in time and the run ends with status 75, to be started again");
    add_profile_option(table, o.profile);
}

void add_dropout_options(OptionTable& table, ShapeOptions& o) {
    table.add(
        "dropout", o.dropout,
        "of embeddings, attention and residuals, or, of awd-lstm, all but --weight-dropout; each has an option of its "
        "own; stages 2 and 3: what --recipe says of a decoder, where it is not given");
    table.add("embedding-dropout", o.embedding_dropout,
              "of the sum of token and position embedding; awd-lstm: of whole rows of the table");
    table.add("attention-dropout", o.attention_dropout, "of attention probabilities");
    table.add("residual-dropout", o.residual_dropout, "of each sublayer's output");
    table.add("input-dropout", o.input_dropout, "awd-lstm: of what goes into the first layer");
    table.add("hidden-dropout", o.hidden_dropout, "awd-lstm: of what goes from layer to layer");
    table.add("output-dropout", o.output_dropout, "awd-lstm: of what comes out of the last layer");
    table.add("weight-dropout", o.weight_dropout, "awd-lstm: of recurrent weights");
    table.range("dropout", 0, 0.999);
    for (const Regularizer& r : regularizers)
        if (std::string(r.option).ends_with("dropout")) table.range(r.option, 0, 0.999);
    table.add("activation-reg", o.activation_reg,
              "awd-lstm, language models alone: weight of the mean square of the last states in the loss (AR)");
    table.add("temporal-reg", o.temporal_reg,
              "awd-lstm, language models alone: weight of the mean square of the last states' change from token to "
              "token (TAR)");
    for (const char* name : {"activation-reg", "temporal-reg"}) table.range(name, 0, 1000);
}

void add_shape_options(OptionTable& table, ShapeOptions& o) {
    table.group("Model");
    table.add("architecture", o.architecture,
              "decoder: a Transformer; awd-lstm: ULMFiT's recurrent network, which reads on through the text");
    table.choices("architecture", {"decoder", "awd-lstm"});
    table.add("num-layers", o.model.layers, "Transformer blocks, or LSTM layers");
    table.range("num-layers", 1, 10000);
    table.add("hidden-size", o.model.hidden, "width of the residual stream, or of the LSTM layers but the last");
    table.range("hidden-size", 1, 1 << 20);
    table.add("embedding-size", o.model.embedding,
              "awd-lstm, which needs it: width of the embedding and of the last layer");
    table.range("embedding-size", 0, 1 << 20);
    table.add("num-attention-heads", o.model.heads, "must divide the width");
    table.range("num-attention-heads", 1, 4095);
    table.add("num-query-groups", o.model.query_groups,
              "heads of keys and values, each shared by as many of the queries (1: multi-query); 0: each has its own");
    table.range("num-query-groups", 0, 4095);
    table.add("ffn-hidden-size", o.model.ffn, "width inside the feed-forward layers; 0: 4 x width (SwiGLU: 8/3 x)");
    table.range("ffn-hidden-size", 0, 1 << 22);
    table.add("seq-length", o.model.context,
              "tokens of context; awd-lstm: of a window, behind which states are carried and gradients cut", "tokens");
    table.range("seq-length", 1, 1 << 22);
    table.add("layer-preprocess", o.model.preprocess, "before a sublayer: n (normalise) or none");
    table.add("layer-postprocess", o.model.postprocess,
              "after it, letters in order: d dropout, a add the residual, n normalise");
    table.add("normalization", o.normalization, "of what");
    table.choices("normalization", {"layernorm", "rmsnorm"});
    table.add("activation", o.activation, "inside the feed-forward layers; gelu is the tanh form");
    table.choices("activation", {"gelu", "relu", "swiglu"});
    table.add("position-embedding", o.position, "how positions are told");
    table.choices("position-embedding", {"learned", "sinusoidal", "rotary", "none"});
    table.add("tie-embeddings", o.model.tied, "output matrix = token embedding");
    table.add("linear-bias", o.model.linear_bias, "biases in linear layers");
    table.add("norm-eps", o.model.norm_eps, "added to the variance");
    table.range("norm-eps", 1e-20, 1);
    table.add("zero-residual-init", o.model.zero_residual_init, "last matrix of each sublayer starts at 0");
    table.add("mask-documents", o.model.mask_documents, "no attention across an end-of-text token");
    add_dropout_options(table, o);
}

AdamwConfig TrainingOptions::optimizer_config() const {
    AdamwConfig config = adamw;
    config.muon = optimizer == "muon";
    config.average = ema;
    return config;
}

ModelConfig ShapeOptions::resolved() const {
    ModelConfig m = model;
    m.architecture = architecture_from(architecture);
    m.normalization = normalization_from(normalization);
    m.activation = activation_from(activation);
    m.position = position_embedding_from(position);
    for (const Regularizer& r : regularizers)
        if (r.of(m.architecture)) m.*r.value = (this->*r.given).value_or(r.follows_dropout ? dropout : 0);
    return m;
}

void check_shape_options(const OptionTable& table, Architecture architecture) {
    // A run's config.ini gives every option, those that mean nothing at their defaults.
    ShapeOptions untouched;
    OptionTable of_defaults("", "");
    add_shape_options(of_defaults, untouched);
    const nlohmann::json options = table.json(), defaults = of_defaults.json();
    const auto refuse = [&](const char* name, bool has) {
        if (!has && options.contains(name) && table.given(name) && options[name] != defaults.at(name))
            table.refuse(
                name, fmt::format("a model of the architecture {} has none: leave this out", to_string(architecture)));
    };
    for (const Regularizer& r : regularizers) refuse(r.option, r.of(architecture));
    for (const char* name : of_decoder_alone) refuse(name, architecture == Architecture::decoder);
    for (const char* name : of_awd_lstm_alone) refuse(name, architecture == Architecture::awd_lstm);
}

void apply_dropouts(const OptionTable& table, const ShapeOptions& o, ModelConfig& model) {
    // Recipes were found with decoders.
    const bool all = table.given("dropout") || (table.origin("dropout") == Origin::recipe && !model.recurrent());
    for (const Regularizer& r : regularizers) {
        if (!r.of(model.architecture)) continue;
        if (table.given(r.option) && o.*r.given)
            model.*r.value = *(o.*r.given);
        else if (all && r.follows_dropout)
            model.*r.value = o.dropout;
    }
}

void take_stored_options(OptionTable& table, const RunRecord& record, const std::string& command, int ranks) {
    const std::string& made_by = record.command;
    check_usage(made_by == command,
                "the checkpoint to go on from is one of a run of ulmpi {}: give ulmpi {} another --run",
                made_by.empty() ? "another command" : made_by, command);
    const nlohmann::json now = table.json(), &stored = record.options;
    std::set<std::string> own{"run", "resume", "init-from", "profile", "walltime"};
    const auto keep = [&](std::initializer_list<const char*> names, bool all) {
        for (const char* name : names) all = all || (now.contains(name) && table.given(name));
        if (all) own.insert(names.begin(), names.end());
    };
    keep({"train-steps", "train-tokens", "epochs"}, false);
    const int split = stored.value("tensor-parallel-size", 1) * stored.value("pipeline-parallel-size", 1);
    keep({"tensor-parallel-size", "pipeline-parallel-size"}, split < 1 || ranks % split != 0);
    for (const auto& [name, value] : stored.items())
        if (now.contains(name) && !value.is_null() && !own.contains(name)) table.set_default(name, value);
}

void keep_as_begun(OptionTable& table, const std::string& name, const nlohmann::json& of_old, const RunRecord& record,
                   const std::string& source) {
    const nlohmann::json before = record.options.value(name, of_old);
    if (table.given(name) && table.json().at(name) != before)
        table.refuse(name, fmt::format("the run of {} began with {}: leave this out, or start another --run", source,
                                       before.is_string() ? before.get<std::string>() : before.dump()));
    table.set_default(name, before);
}

void take_shape(OptionTable& table, const ModelConfig& model, const std::string& source, bool resumed) {
    const nlohmann::json given = table.json();
    nlohmann::json shape = to_json(model);
    shape["architecture"] = to_string(model.architecture);               // a decoder's goes without saying,
    if (!model.recurrent()) shape["query_groups"] = model.query_groups;  // and so do keys for every head
    ModelConfig by_default = model;
    by_default.ffn = 0;
    for (const auto& [name, field] : shape_fields()) {
        if (!given.contains(name) || !shape.contains(field)) continue;
        // A new run may read windows of another length: no weight of a recurrent model hangs on it.
        const bool free = model.recurrent() && !resumed && field == std::string("context");
        const bool derived = std::string(name) == "ffn-hidden-size" && given[name] == 0;
        if (derived && by_default.ffn_size() == model.ffn_size()) continue;  // a run that goes on asks for the same
        if (table.given(name) && given[name] != shape[field] && !derived && !free)
            table.refuse(name, fmt::format("the model of {} has {}: leave this out, or start another run from nothing",
                                           source, shape[field].dump()));
        table.set_default(name, shape[field]);
    }
}

std::vector<std::string> shape_options() {
    std::vector<std::string> names;
    for (const auto& [name, field] : shape_fields()) names.emplace_back(name);
    return names;
}

SaveInterval save_interval_from(const std::string& text) {
    if (const std::optional<double> seconds = seconds_from(text)) return {0, *seconds};
    double number = 0;
    const char* end = text.data() + text.size();
    const auto [rest, status] = std::from_chars(text.data(), end, number);
    check_usage(status == std::errc() && rest == end && number >= 0 && number == std::floor(number) && number < 1e15,
                "--save-interval {} is neither a number of updates (500) nor a time (90s, 30m, 2h)", text);
    return {static_cast<std::uint64_t>(number), 0};
}

SaveMode save_mode_from(const std::string& text) { return text == "async" ? SaveMode::async : SaveMode::sync; }

void check_run_options(const RunOptions& o) {
    save_interval_from(o.save_interval);
    job_end(o.walltime, {}, [] { return std::nullopt; });
}

void check_early_stop(const RunOptions& o, const std::string& valid) {
    check_usage(o.early_stop == 0 || (o.eval_interval > 0 && !valid.empty()),
                "--early-stop counts evaluations between updates: give --valid and --eval-interval too");
}

void check_duration(const TrainingOptions& o) {
    const int given = int(o.steps.has_value()) + int(o.tokens.has_value()) + int(o.epochs.has_value());
    check_usage(given == 1, "give the length of the run by one of --train-steps, --train-tokens, --epochs");
}

std::uint64_t steps_of(const TrainingOptions& o, std::uint64_t samples, std::uint64_t length) {
    check_duration(o);
    const auto batch = static_cast<double>(o.global_batch);
    double steps = 0;
    if (o.steps) return *o.steps;
    if (o.tokens) steps = static_cast<double>(*o.tokens) / (batch * static_cast<double>(length));
    if (o.epochs) steps = *o.epochs * static_cast<double>(samples) / batch;
    return static_cast<std::uint64_t>(std::max(1.0, std::ceil(steps - 1e-9)));
}

}  // namespace ulmpi
