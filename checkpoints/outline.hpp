#pragma once
// A checkpoint file without its tensors' bytes, made in memory: HDF5 never writes to a disk that may be full, which it
// does not survive (a file that cannot be flushed cannot be closed either, and brings the program down at its end).

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/files/descriptor.hpp"
#include "base/files/hdf5_file.hpp"
#include "checkpoints/checkpoint.hpp"
#include "checkpoints/placement.hpp"

namespace ulmpi {

/// One dataset of the outline: its name, and where its bytes go in the file.
struct OutlinedTensor {
    std::string dataset;
    std::uint64_t offset = 0, bytes = 0;
};

class CheckpointOutline {
public:
    /// Metadata, tokenizer, wide features and a dataset of `type` for every job, allocated but empty. Throws Error.
    CheckpointOutline(const nlohmann::json& metadata, const std::string& tokenizer_json, const WideContent& wide,
                      const std::vector<TensorPlacement>& tensors, const std::vector<WriteJob>& jobs,
                      ElementType type = ElementType::f32);

    /// In the order of the jobs.
    const std::vector<OutlinedTensor>& tensors() const { return tensors_; }
    /// Bytes from the beginning of the file to the end of its last tensor.
    std::uint64_t end_of_tensors() const;

    /// Sets the tensors' checksums and writes all that lies behind the seal and between the tensors into `path`, which
    /// holds the tensors. Returns the checksum of everything behind the seal. Throws Error.
    std::uint32_t complete(const std::filesystem::path& path, std::span<const std::uint32_t> crc32s);

private:
    std::optional<FileDescriptor> memory_;  // a sparse file that has lost its name: gone with the process
    std::optional<Hdf5File> outline_;       // the same file, open until it is complete
    std::vector<OutlinedTensor> tensors_;
};

}  // namespace ulmpi
