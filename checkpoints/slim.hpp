#pragma once
// Weights alone, in half precision: a model to start from or to ask, in a quarter of a checkpoint's size at most.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/hdf5_file.hpp"

namespace ulmpi {

/// Writes the weights of a checkpoint, rounded to `precision` (f16, bf16 or f32) to the nearest, ties to even, with its
/// tokenizer and metadata, which gets "slim": true. No file appears unless all of it is on the disk. One rank. Throws
/// UsageError if `from` cannot be used, or naming a weight that is not finite in that precision; Error if `to` cannot
/// be written.
void write_slim_checkpoint(const std::filesystem::path& from, const std::filesystem::path& to, ElementType precision);

/// A checkpoint whose weights are taken, and what stands before their names in the file that takes them.
struct WeightSource {
    std::filesystem::path file;
    std::string prefix;
};
/// The same of one or several: their weights, what is said of them, and a model of words in bytes, or none. One rank.
void write_weights(const std::vector<WeightSource>& sources, nlohmann::json metadata, const std::string& tokenizer_json,
                   const std::vector<std::uint8_t>& words, const std::filesystem::path& to, ElementType precision);

/// f16 if that holds all weights of these files, f32 otherwise. One rank. Throws UsageError if one cannot be used.
ElementType best_precision(const std::vector<std::filesystem::path>& files);

/// "fp16", "bf16", "fp32".
std::string precision_name(ElementType type);
ElementType precision_from(const std::string& name);
std::vector<std::string> precision_names();

}  // namespace ulmpi
