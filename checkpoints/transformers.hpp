#pragma once
// Folders of Hugging Face's transformers: config.json, tokenizer.json, and the weights in model.safetensors or in the
// files that model.safetensors.index.json names.

#include <filesystem>
#include <optional>

#include "base/files/hdf5_file.hpp"

namespace ulmpi {

/// Writes the model of a folder as a checkpoint of weights alone, in `precision` or, without one, in that of all its
/// weights (fp32 where they differ). No file appears unless all of it is on the disk. One rank. Returns the precision.
/// Throws UsageError naming what is missing, damaged, superfluous, or cannot be honoured; Error if `to` cannot be
/// written.
ElementType import_model(const std::filesystem::path& folder, const std::filesystem::path& to,
                         std::optional<ElementType> precision);

/// Writes a language model of that family as a new folder, every weight in the precision that it has; transformers
/// loads it, and import_model() gives the same bits back. The folder appears when all of it is on the disk. One rank.
/// Throws UsageError naming what makes it another model, or what is wrong with the checkpoint; Error if the folder
/// cannot be written.
void export_model(const std::filesystem::path& checkpoint, const std::filesystem::path& to);

}  // namespace ulmpi
