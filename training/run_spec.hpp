#pragma once
// What a run is: what will be trained, from what, how. Worked out once, by pure functions of what was asked for and of
// the facts (training/facts.hpp); trainers, submit and the checkpoints all say the same of it.

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "model/layers/classifier_head.hpp"
#include "training/facts.hpp"
#include "training/layout.hpp"
#include "training/rank_model.hpp"
#include "training/training_options.hpp"

namespace ulmpi {

struct RunSpec {
    std::string command;  ///< "finetune lm"
    ModelConfig model;
    HeadConfig head = std::nullopt;  ///< a classifier's
    TokenizerFacts tokenizer;
    TrainingOptions training;
    RunOptions run;
    Layout layout;
    PassPlan pass = {};
    std::uint64_t steps = 0;
    std::optional<CheckpointFacts> source = std::nullopt;
    bool resumed = false;          ///< goes on from `source`; or else begins with its weights
    std::size_t fresh_blocks = 0;  ///< so many of the source's last blocks, and its final norm, begin anew
    std::optional<std::uint64_t> parent = std::nullopt;  ///< fingerprint of the weights that it began with
    std::map<std::string, std::uint64_t> inputs = {};    ///< fingerprints, by option
    nlohmann::json options;                              ///< all of them, as OptionTable::json has them
    std::string ini;                                     ///< the same as a file that runs the job again
};

/// What every checkpoint says of its run; stages add to it, the trainer its progress.
RunRecord record_of(const RunSpec& run, const std::string& kind);

// The steps that the stages' own resolve functions share. All are pure; all throw UsageError.

/// What the checkpoint says that the run goes on from, or begins with, stands for what was not given. Without `source`:
/// nothing.
void take_source(OptionTable& table, const std::string& command, const Facts& facts);

/// After take_source: the shape of the model, the source's or that of the options; none where --init-from brings it,
/// whose checkpoint is not known. Where no tokenizer is known the vocabulary is as large as can be.
std::optional<ModelConfig> model_of(const OptionTable& table, const StageOptions& options, const Facts& facts);

/// The same for what can be checked before the data are read.
void check_options(const OptionTable& table, const StageOptions& options, const Facts& facts);

/// All of a run but its head, its pass and its steps.
RunSpec resolve_run(const std::string& command, const OptionTable& table, const StageOptions& options,
                    const Facts& facts);

/// What a replica's share of a global batch takes, in micro-batches of at most so many sequences of `length` tokens.
PassPlan pass_plan(std::size_t global_batch, int replicas, std::size_t micro_batch, std::size_t length);

}  // namespace ulmpi
