#pragma once
// What a run of stage 1 or 2 is.

#include <cstdint>
#include <string>

#include "training/run_spec.hpp"

namespace ulmpi {

/// `ulmpi pretrain …` and `ulmpi finetune lm …`, which differ in where the model comes from and in the defaults.
struct LanguageModelStage {
    std::string command;
    bool continues;  ///< from --init-from
};
inline LanguageModelStage pretraining() { return {"pretrain", false}; }
inline LanguageModelStage domain_training() { return {"finetune lm", true}; }

/// What they can be told. In the constructor: the defaults.
struct LanguageModelOptions : StageOptions {
    explicit LanguageModelOptions(const LanguageModelStage& stage);
    void declare(OptionTable& table, const LanguageModelStage& stage);

    std::string data, valid, recipe = "best";
    double factor = 1;
    bool transfer_vocabulary = false;
};

/// What was asked of a stage: options, and the table bound to them that knows where each came from. A value: the table
/// of a copy is bound to the copy.
struct LanguageModelRequest {
    explicit LanguageModelRequest(const LanguageModelStage& stage);
    LanguageModelRequest(const LanguageModelRequest& other);

    LanguageModelStage stage;
    LanguageModelOptions options;
    OptionTable table;
};

struct LanguageModelSpec : RunSpec {
    std::string data, valid;  ///< shards; valid may be empty
    ShardFacts shards = {};   ///< of `data`
    double factor = 1;        ///< each block learns this many times slower than the one above it
    bool transfers_vocabulary =
        false;  ///< the shards' tokenizer takes the place of the source's (vocabulary_transfer.hpp)
};

/// What was asked for, with what the source says where nothing was given; all checks that need no data. Pure; throws
/// UsageError, as does all that follows.
LanguageModelRequest settled(const LanguageModelRequest& asked, const Facts& facts);

/// Adds what the shards say of themselves: their seals and lengths, not yet every byte. One rank.
void read_inputs(const LanguageModelRequest& asked, Facts& facts);

/// The run that was asked for. Pure.
LanguageModelSpec resolve(const LanguageModelRequest& asked, const Facts& facts);

/// What its checkpoints say.
RunRecord record_of(const LanguageModelSpec& spec);

}  // namespace ulmpi
