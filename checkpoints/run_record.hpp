#pragma once
// What a checkpoint says of its run beside tensors: the JSON object that is its metadata. Its keys are spelt here, in
// run_progress.cpp, and, those of the lineage, in training/lineage.cpp. A part that a file lacks is empty; keys that
// are not known here are left aside.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "checkpoints/checkpoint.hpp"
#include "checkpoints/run_progress.hpp"
#include "model/config.hpp"
#include "model/layers/classifier_head.hpp"

namespace ulmpi {

constexpr const char* language_model_kind = "language-model";
constexpr const char* classifier_kind = "classifier";

/// Of a language model: the shards that it was trained on.
struct DataRecord {
    std::string path;
    std::uint64_t tokens = 0, fingerprint = 0;  ///< the latter of their tokenizer
    friend bool operator==(const DataRecord&, const DataRecord&) = default;
};

struct ClassifierRecord {
    std::vector<std::string> classes;
    ClassifierConfig head;       ///< its number of classes is that of their names
    std::size_t max_length = 0;  ///< texts were cut at so many tokens; 0: not
    friend bool operator==(const ClassifierRecord&, const ClassifierRecord&) = default;
};

/// Several networks in one file, and a model of words that is stacked on them (checkpoints/ensemble.hpp).
struct EnsembleRecord {
    std::size_t members = 0;
    double network = 1, words = 0;
    struct Member {
        std::string path;
        std::optional<std::uint64_t> step = std::nullopt;
        friend bool operator==(const Member&, const Member&) = default;
    };
    std::vector<Member> of = {};
    friend bool operator==(const EnsembleRecord&, const EnsembleRecord&) = default;
};

/// How far the run was, and what it goes on with.
struct SavedProgress {
    Progress progress;
    std::uint64_t seed = 0;
    std::vector<std::uint64_t> updates_by_group;
    bool complete = false;
    friend bool operator==(const SavedProgress&, const SavedProgress&) = default;
};

struct RunRecord {
    std::string kind = {};     ///< language_model_kind or classifier_kind
    std::string command = {};  ///< "finetune lm"
    std::optional<ModelConfig> model = std::nullopt;
    std::optional<ClassifierRecord> classifier = std::nullopt;
    std::optional<EnsembleRecord> ensemble = std::nullopt;
    std::optional<DataRecord> data = std::nullopt;
    std::optional<std::uint64_t> tokenizer_fingerprint = std::nullopt;
    std::optional<SavedProgress> saved = std::nullopt;
    nlohmann::json lineage = nlohmann::json::object();  ///< training/lineage.hpp
    nlohmann::json options = nlohmann::json::object();  ///< of the command, as OptionTable::json has them
    friend bool operator==(const RunRecord&, const RunRecord&) = default;
};

nlohmann::json to_json(const ClassifierRecord& classifier);
/// A shape's ffn of 0 comes back as the width that it stands for.
nlohmann::json to_json(const RunRecord& record);
/// What to_json wrote. Throws what nlohmann::json throws.
RunRecord run_record_from(const nlohmann::json& metadata);
/// Of a checkpoint. UsageError that names the file if its metadata are not those of a run.
RunRecord record_of(const std::filesystem::path& file, const CheckpointInfo& info);

/// The metadata with an ensemble's, for the rest those of its first member: progress is no member's alone.
nlohmann::json as_ensemble(nlohmann::json metadata, const EnsembleRecord& ensemble);
bool is_ensemble(const nlohmann::json& metadata);
/// Whether the model is of another family than the decoder's, which goes without saying.
bool names_family(const nlohmann::json& metadata);
/// Those of weights alone.
nlohmann::json as_slim(nlohmann::json metadata);
/// Those of a model that was made elsewhere.
nlohmann::json as_imported(nlohmann::json metadata, const std::string& from, const std::string& family);

/// The step that a checkpoint was saved at, whatever else it says; none: it has no progress.
std::optional<nlohmann::json> step_as_stored(const nlohmann::json& metadata);
/// The shape as it stands in the file, byte by byte: what a model's fingerprint is made of.
std::string shape_as_stored(const nlohmann::json& metadata);

}  // namespace ulmpi
