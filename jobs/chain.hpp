#pragma once
// Three stages as a configuration file describes them, and how far each of them is.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "finetune/classifier_spec.hpp"
#include "parallel/communicator.hpp"
#include "pretrain/language_model_spec.hpp"

namespace ulmpi {

/// A stage as its section describes it: read and checked as the command itself would.
struct ConfiguredStage {
    std::string command;         ///< "finetune lm"
    std::string run, init_from;  ///< as they stand in the file; init_from may be empty
    std::string given;           ///< an INI file of what was given
    nlohmann::json options;      ///< all
    int ranks_of_model = 1;      ///< tensor × pipeline parallel size
    bool evaluates = false;      ///< whether its last word is an evaluation
    std::variant<LanguageModelRequest, ClassifierRequest> request;
};

/// The stages that have a section in the file, in their order. Throws UsageError: none has, an option is wrong, two
/// work in one folder, one begins with a run that neither is there nor is a stage before it, or its model cannot be
/// split as it is to be.
std::vector<ConfiguredStage> stages_of_file(const std::string& config);

/// How far a stage is.
struct StageState {
    enum class Need { all, the_rest, nothing, other_inputs };
    Need need = Need::all;
    std::uint64_t step = 0;            ///< of its newest checkpoint
    std::vector<std::string> changes;  ///< of its inputs since it was made, a line each
};

/// Of each stage, in order: what its run folder holds against what the file asks for. A stage whose parent is still to
/// be trained has other inputs than any run that is there. Throws UsageError where the stage itself would refuse its
/// inputs, and if a run has checkpoints of which none can be used. Collective over one rank.
std::vector<StageState> states_of(const std::vector<ConfiguredStage>& stages, const Communicator& world);

/// Jobs of a chain that was submitted: FOLDER/chain.json.
struct ChainRecord {
    struct Stage {
        std::string command, run, job, script, log;
        bool evaluates = false;  ///< it is complete when it has been judged
    };
    std::string config;
    std::vector<Stage> stages;
    std::string working_folder;  ///< in which it was submitted: paths are relative to it

    /// None if the folder holds none. Throws UsageError if it cannot be read.
    static std::optional<ChainRecord> load(const std::filesystem::path& folder);
    void save(const std::filesystem::path& folder) const;
};

}  // namespace ulmpi
