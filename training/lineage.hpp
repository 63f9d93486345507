#pragma once
// What a run follows from: its parent's weights, its configuration, its data. Runs of equal lineage learn the same, but
// for the rounding of another layout, so a run that is there already need not be made again. Stored in every
// checkpoint.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "training/run_spec.hpp"

namespace ulmpi {

/// {"command", "parent": fingerprint or null, "options": {…}, "inputs": {"data": fingerprint, …}}. Of the options, what
/// says where, how long at a time and on how many ranks a run works is left out, as are paths, in whose place stand the
/// fingerprints of what lies there, and the shape where a parent brings it. Pure.
nlohmann::json lineage_of(const RunSpec& run);

/// The parent's fingerprint that a lineage tells of; none: it began with no weights.
std::optional<std::uint64_t> parent_of(const nlohmann::json& lineage);

/// The fingerprint of what an option names ("distill-from"), as a lineage tells; 0: it tells of none.
std::uint64_t input_of(const nlohmann::json& lineage, const std::string& option);

/// UsageError where a run would go on with other data than it began with, of which `before` tells.
void check_same_data(const nlohmann::json& before, const RunSpec& now);

/// A line for each difference, "lr is 0.001, was 0.0005"; empty: the same.
std::vector<std::string> lineage_changes(const nlohmann::json& before, const nlohmann::json& now);

}  // namespace ulmpi
