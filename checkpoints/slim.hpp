#pragma once
// Weights alone, in half precision: a model to start from or to ask, in a quarter of a checkpoint's size at most.

#include <filesystem>
#include <string>
#include <vector>

#include "data/hdf5_file.hpp"

namespace ulmpi {

/// Writes the weights of a checkpoint, rounded to `precision` (f16, bf16 or f32) to the nearest, ties to even, with its
/// tokenizer and metadata, which gets "slim": true. No file appears unless all of it is on the disk. One rank. Throws
/// UsageError if `from` cannot be used, or naming a weight that is not finite in that precision; Error if `to` cannot
/// be written.
void write_slim_checkpoint(const std::filesystem::path& from, const std::filesystem::path& to, ElementType precision);

/// "fp16", "bf16", "fp32".
std::string precision_name(ElementType type);
ElementType precision_from(const std::string& name);
std::vector<std::string> precision_names();

}  // namespace ulmpi
