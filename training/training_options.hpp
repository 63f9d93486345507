#pragma once
// The options that all three stages of training share.

#include <cstdint>
#include <optional>
#include <string>

#include "base/options/table.hpp"
#include "checkpoints/checkpoint_writer.hpp"
#include "checkpoints/run_record.hpp"
#include "model/config.hpp"
#include "training/layout.hpp"
#include "training/learning_rate.hpp"
#include "training/optimizer.hpp"

namespace ulmpi {

/// How long and how fast to learn.
struct TrainingOptions {
    std::size_t global_batch = 16;  ///< sequences per update, over all replicas
    std::optional<std::uint64_t> steps, tokens;
    std::optional<double> epochs;
    double lr = 1e-3, min_lr = 0;
    std::string lr_schedule = "cosine";
    std::uint64_t warmup_steps = 0;
    std::string optimizer = "adamw";
    AdamwConfig adamw;
    double clip_grad = 1;
    double ema = 0;  ///< decay of the weights' moving average; 0: there is none
    std::uint64_t seed = 1;
    /// `adamw`, with Muon for the matrices of blocks where `optimizer` says so, and the average of the weights.
    AdamwConfig optimizer_config() const;
};

/// Where a run lives, and what it writes when.
struct RunOptions {
    std::string run;                    ///< folder
    std::string resume = "auto";        ///< auto, never, or a checkpoint
    std::string save_interval = "30m";  ///< steps, or minutes with m, hours with h
    std::string save_mode = "sync";     ///< sync or async
    std::size_t keep_last = 2;
    std::uint64_t keep_every = 0;     ///< steps; 0: none
    std::uint64_t eval_interval = 0;  ///< steps; 0: at the end
    std::uint64_t early_stop = 0;     ///< evaluations in between without a better one that end the run; 0: none do
    std::uint64_t log_interval = 10;  ///< steps
    std::string walltime = "auto";    ///< of the job: auto (Slurm's), none, or a time from the start
    std::string profile;              ///< file for a trace; empty: none
};

/// The shape of the model as text, as options have it.
struct ShapeOptions {
    ModelConfig model;  ///< sizes, wiring, dropouts
    std::string architecture = "decoder", normalization = "layernorm", activation = "gelu", position = "learned";
    double dropout = 0;  ///< all but that of recurrent weights, unless given for itself
    std::optional<double> embedding_dropout, attention_dropout, residual_dropout;
    std::optional<double> input_dropout, hidden_dropout, output_dropout, weight_dropout, activation_reg, temporal_reg;
    /// The strings, dropouts and regularisers read into `model`.
    ModelConfig resolved() const;
};

/// What every stage can be told.
struct StageOptions {
    std::string init_from;  ///< run or checkpoint that gives shape, weights and tokenizer; empty: none
    ShapeOptions shape;
    TrainingOptions training;
    LayoutOptions layout;
    RunOptions run;
};

void add_duration_options(OptionTable& table, TrainingOptions& options);   ///< --train-steps, --train-tokens, --epochs
void add_optimizer_options(OptionTable& table, TrainingOptions& options);  ///< batch, rates, AdamW, seed
void add_run_options(OptionTable& table, RunOptions& options);
void add_shape_options(OptionTable& table, ShapeOptions& options);
/// Dropouts and regularisers alone, for a model whose shape comes from a checkpoint.
void add_dropout_options(OptionTable& table, ShapeOptions& options);
/// UsageError naming an option that was given and that models of the architecture do not have.
void check_shape_options(const OptionTable& table, Architecture architecture);
/// Puts the dropouts that were given, or that a recipe says, into a model from a checkpoint.
void apply_dropouts(const OptionTable& table, const ShapeOptions& options, ModelConfig& model);

/// After parse: what a checkpoint's metadata says of its run's options stands for what was not given now. Names of
/// folders, and of what a run begins from, are this run's own; so is the length if it is given in whatever unit, and
/// the split of the model if one is given or the stored one does not fit `ranks`. UsageError if the run was not one of
/// `command`.
void take_stored_options(OptionTable& table, const RunRecord& stored, const std::string& command, int ranks);

/// After parse, of a run that goes on: what it began with and cannot change on the way. Runs that do not say began with
/// `of_old`. UsageError naming the option if something else was given.
void keep_as_begun(OptionTable& table, const std::string& name, const nlohmann::json& of_old, const RunRecord& stored,
                   const std::string& source);

/// After parse: the shape of a model that is there already stands for what was not given now. UsageError naming an
/// option that was given and says something else. `source` is where the model lies.
void take_shape(OptionTable& table, const ModelConfig& model, const std::string& source, bool resumed);

/// The options that a model from a checkpoint decides.
std::vector<std::string> shape_options();

/// An interval of steps or of time.
struct SaveInterval {
    std::uint64_t steps = 0;
    double seconds = 0;
};
/// "500" steps, "30m", "2h"; 0: only at the end. UsageError naming --save-interval.
SaveInterval save_interval_from(const std::string& text);

/// "sync" or "async".
SaveMode save_mode_from(const std::string& text);

/// UsageError naming an option whose text cannot be read.
void check_run_options(const RunOptions& options);

/// UsageError where --early-stop has no evaluations to count; `valid`: where the texts to evaluate on lie.
void check_early_stop(const RunOptions& options, const std::string& valid);

/// UsageError unless one of --train-steps, --train-tokens and --epochs is given.
void check_duration(const TrainingOptions& options);

/// Updates of a run over a data set of `samples` sequences of `length` tokens: of --train-steps, --train-tokens or
/// --epochs (check_duration).
std::uint64_t steps_of(const TrainingOptions& options, std::uint64_t samples, std::uint64_t length);

}  // namespace ulmpi
