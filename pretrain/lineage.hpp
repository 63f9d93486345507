#pragma once
// What a run follows from: its parent's weights, its configuration, its data. Runs of equal lineage learn the same, but
// for the rounding of another layout, so a run that is there already need not be made again. Stored in every
// checkpoint.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "pretrain/inference.hpp"

namespace ulmpi {

/// Of what --init-from takes of a checkpoint: shape, tokenizer and weights. The same for the same weights, whenever and
/// by whichever layout they were written.
std::uint64_t model_fingerprint(const CheckpointInfo& info);

/// Of a folder of token shards: what their seals say of every byte. Throws UsageError if they cannot be used.
std::uint64_t shards_fingerprint(const std::filesystem::path& shards);
/// Of the bytes of a file. Throws UsageError if it cannot be read.
std::uint64_t file_fingerprint(const std::filesystem::path& file);

/// {"command", "parent": fingerprint or null, "options": {…}, "inputs": {"data": fingerprint, …}}. `options` as
/// OptionTable::json has them. Of these, what says where, how long at a time and on how many ranks a run works is left
/// out, as are paths, in whose place stand the fingerprints of what lies there, and the shape where a parent brings it.
/// One rank; throws UsageError if an input cannot be read.
nlohmann::json lineage_of(const std::string& command, const nlohmann::json& options,
                          std::optional<std::uint64_t> parent);

/// That of a run which begins with the weights of `source` (null: with none), or goes on from it (`resumed`).
/// Collective; of rank 0. UsageError where a run would go on with other data than it began with.
nlohmann::json run_lineage(const std::string& command, const nlohmann::json& options, const StoredModel* source,
                           bool resumed, const Communicator& world);

/// A line for each difference, "lr is 0.001, was 0.0005"; empty: the same.
std::vector<std::string> lineage_changes(const nlohmann::json& before, const nlohmann::json& now);

}  // namespace ulmpi
