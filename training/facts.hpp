#pragma once
// What must be read from disk, or asked of the machine, before it can be said what a run is (training/run_spec.hpp).

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "checkpoints/checkpoint.hpp"
#include "checkpoints/run_record.hpp"
#include "data/labelled_set.hpp"
#include "data/token_dataset.hpp"
#include "data/tokenizer/tokenizer.hpp"
#include "model/config.hpp"

namespace ulmpi {

struct TokenizerFacts {
    std::uint64_t fingerprint = 0;
    std::size_t vocabulary = 0;
    Token end_of_text = 0;
    friend bool operator==(const TokenizerFacts&, const TokenizerFacts&) = default;
};

/// Of a folder of token shards.
struct ShardFacts {
    std::string first_file;
    std::uint64_t tokens = 0;
    TokenizerFacts tokenizer;
    friend bool operator==(const ShardFacts&, const ShardFacts&) = default;
};

/// Of a labelled set, its texts cut to --max-length.
struct LabelledFacts {
    std::vector<std::string> classes;
    std::uint64_t records = 0, tokens = 0, cut = 0;
    std::vector<std::uint32_t> longest;  ///< tokens of the longest records, falling: of `most_listed` at most
    static constexpr std::size_t most_listed = 4096;
    friend bool operator==(const LabelledFacts&, const LabelledFacts&) = default;
};

/// Of the checkpoint that a run goes on from, or whose weights it begins with.
struct CheckpointFacts {
    std::string path;
    std::uint64_t fingerprint = 0;  ///< model_fingerprint; 0: still to be trained
    RunRecord record = {};          ///< which says what model it holds
    const ModelConfig& model() const { return record.model.value(); }
    friend bool operator==(const CheckpointFacts&, const CheckpointFacts&) = default;
};

/// Rank 0 reads them, all ranks have the same.
struct Facts {
    int ranks = 1;
    int threads = 1;  ///< of a rank, where none are asked for
    std::optional<CheckpointFacts> source = std::nullopt;
    bool resumed = false;  ///< the run goes on from `source`; or else begins with its weights
    std::optional<TokenizerFacts> tokenizer = std::nullopt;  ///< of the run: its source's, --tokenizer's, its shards'
    // By the name of the option that says where they lie.
    std::map<std::string, ShardFacts> shards = {};
    std::map<std::string, LabelledFacts> sets = {};
    std::map<std::string, std::uint64_t> inputs = {};  ///< fingerprints of all files of the data
    friend bool operator==(const Facts&, const Facts&) = default;
};

nlohmann::json to_json(const Facts& facts);
Facts facts_from(const nlohmann::json& facts);

TokenizerFacts facts_of(const Tokenizer& tokenizer);
ShardFacts facts_of(const TokenDataset& dataset);
LabelledFacts facts_of(const LabelledSet& set);
/// UsageError if it does not say what model it holds.
CheckpointFacts facts_of(const std::string& path, const CheckpointInfo& info);

/// Of what --init-from takes of a checkpoint: shape, tokenizer and weights. The same for the same weights, whenever and
/// by whichever layout they were written.
std::uint64_t model_fingerprint(const CheckpointInfo& info);
/// Of token shards: what their seals say of every byte. Throws UsageError if one cannot be read.
std::uint64_t shards_fingerprint(const TokenDataset& dataset);
/// Of the bytes of a file. Throws UsageError if it cannot be read.
std::uint64_t file_fingerprint(const std::filesystem::path& file);

}  // namespace ulmpi
