#pragma once
// One logical checkpoint in one HDF5 file: every tensor whole under its global name, whatever layout wrote it, so that
// any layout reads it. docs/checkpoints.md has the format.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/files/hdf5_file.hpp"
#include "data/tokenizer/vocabulary_map.hpp"
#include "model/parameters.hpp"
#include "parallel/topology.hpp"

namespace ulmpi {

/// What training goes on with beside weights. The optimizer's moving averages are laid out like the buffer of the
/// ParameterStore; empty: none. Where there is one of the weights, it is what the file has under their names, and those
/// of the store, with which training goes on, lie beside.
struct Moments {
    std::span<float> first, second;
    std::span<float> average = {};
    /// What recurrent modules carry, of all streams (CarriedStates::tensors); null: nothing.
    ParameterStore* states = nullptr;
};

/// A linear model beside the network, in bytes; and what the network's training sees of another model, for each record
/// of its set: of that linear one while the record was held out, or of a teacher. Either may be empty.
struct WideContent {
    std::vector<std::uint8_t> model;
    std::vector<float> said;
    bool empty() const { return model.empty() && said.empty(); }
    std::size_t bytes() const { return model.size() + said.size() * sizeof(float); }
};

/// Writes a checkpoint under a temporary name in the same folder, which must exist, and renames it once all of it is
/// on disk. `metadata` and `tokenizer_json` are rank 0's. Collective over the grid.
/// Returns what failed (disk full, folder gone, …), alike on every rank; then the temporary file has been removed and
/// what stood under `file` before is untouched.
[[nodiscard]] std::optional<std::string> save_checkpoint(const std::filesystem::path& file,
                                                         const nlohmann::json& metadata,
                                                         const std::string& tokenizer_json, const ParameterStore& store,
                                                         const Moments& moments, const Topology& topology);

struct LoadPolicy {
    /// Whether moments are wanted (where Moments is not empty). A file without them is then a UsageError, and so is one
    /// whose weights are averages where there is no room for them, or the reverse. Without: the weights alone, averages
    /// if they are.
    bool moments = true;
    /// Names that keep their present values if the file lacks them: another head's. With this set, tensors of the file
    /// that the model lacks are left aside; without it, file and model must hold the same names.
    std::function<bool(const std::string&)> may_be_new = nullptr;
    bool verified = false;  ///< the caller has had the file verified already
    /// The file has another vocabulary: in its tables of tokens (token_embedding, output.weight, output.bias) row t of
    /// the model is the mean of the rows of t's sources, or of all rows where it has none. Weights alone.
    const VocabularyMap* vocabulary = nullptr;
    /// Before the model's names in the file: which member of an ensemble (checkpoints/ensemble.hpp). Other names are
    /// not looked at.
    std::string prefix = {};
};

/// Fills the store and the moments with this rank's slices, after the file has been verified (each rank reads a share
/// of it), unless it was. Collective over the grid; throws the same UsageError on every rank.
void load_checkpoint(const std::filesystem::path& file, ParameterStore& store, const Moments& moments,
                     const Topology& topology, const LoadPolicy& policy = {});

struct TensorInfo {
    std::string name;
    Dims shape;
    std::uint32_t crc32 = 0;  ///< of its bytes, as the file says
    ElementType type = ElementType::f32;

    std::uint64_t elements() const;
};

/// What a checkpoint holds, without the tensors themselves.
struct CheckpointInfo {
    nlohmann::json metadata;
    std::string tokenizer_json;
    WideContent wide;
    std::vector<TensorInfo> tensors;  ///< weights, by name
    std::uint64_t bytes = 0;          ///< of the file
    std::uint64_t format_version = 0;
    std::string code_version;
    bool has_moments = false;
    bool is_averaged = false;  ///< the weights are moving averages; those of training lie beside them

    std::uint64_t parameters() const;
};

/// Verifies the file, unless it was `verified`, and reads what it says of itself. One rank. Throws UsageError: no such
/// file, not a checkpoint, damaged, made by a newer version.
CheckpointInfo read_checkpoint_info(const std::filesystem::path& file, bool verified = false);
/// The same on every rank of `ranks`, which share the reading (unless it was `verified`); the same UsageError on all.
/// Collective.
CheckpointInfo read_checkpoint_info(const std::filesystem::path& file, const Communicator& ranks,
                                    bool verified = false);

/// Verifies the seal of the file, its ranks sharing the reading. Collective; the same UsageError on all.
void verify_seal_together(const std::filesystem::path& file, const Communicator& ranks);

/// Every byte against the seal, then every tensor against its own checksum. One rank. Throws UsageError.
void verify_checkpoint(const std::filesystem::path& file);

}  // namespace ulmpi
