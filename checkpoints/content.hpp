#pragma once
// An open checkpoint file, after its seal has been verified.

#include <filesystem>
#include <string>
#include <vector>

#include "base/files/hdf5_file.hpp"

namespace ulmpi {

class CheckpointContent {
public:
    /// Throws UsageError if a newer version of the program made it.
    explicit CheckpointContent(const std::filesystem::path& verified);

    const Hdf5File& file() const { return file_; }
    const std::vector<std::string>& tensors() const { return tensors_; }  ///< names of the weights, sorted
    bool has_moments() const { return has_moments_; }
    /// Whether the weights are averages, and those of training lie beside them.
    bool is_averaged() const { return is_averaged_; }

private:
    Hdf5File file_;
    std::vector<std::string> tensors_;
    bool has_moments_ = false, is_averaged_ = false;
};

}  // namespace ulmpi
