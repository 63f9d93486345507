#pragma once
// Weights alone, in half precision: a model to start from or to ask, in a quarter of a checkpoint's size at most.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/files/hdf5_file.hpp"
#include "checkpoints/checkpoint.hpp"

namespace ulmpi {

/// A whole weight to be written, row by row; `read` gives its elements when their turn has come.
struct WeightSource {
    std::string name;
    Dims shape;
    std::function<std::vector<float>()> read;
};

/// Writes a checkpoint of weights alone, each rounded to `precision` (f16, bf16 or f32) to the nearest, ties to even;
/// the metadata get "slim": true. One weight at a time is in memory. No file appears unless all of it is on the disk.
/// One rank. Throws UsageError naming a weight that is not finite in fp16 or bf16, Error if `to` cannot be written.
void write_weights(const std::filesystem::path& to, nlohmann::json metadata, const std::string& tokenizer_json,
                   const WideContent& wide, const std::vector<WeightSource>& weights, ElementType precision);

/// The weights of a checkpoint, each under its name with `prefix` before it, to be read from the file when their turn
/// has come. Throws UsageError if it cannot be used.
std::vector<WeightSource> weights_of(const std::filesystem::path& checkpoint, const std::string& prefix = {});

/// f16 if that holds all weights of these files, f32 otherwise. One rank. Throws UsageError if one cannot be used.
ElementType best_precision(const std::vector<std::filesystem::path>& checkpoints);

/// write_weights() of a checkpoint's, with its tokenizer and metadata. Throws UsageError if `from` cannot be used.
void write_slim_checkpoint(const std::filesystem::path& from, const std::filesystem::path& to, ElementType precision);

/// Values as bits of `precision` (f16 or bf16), to the nearest, ties to even.
std::vector<std::uint16_t> halves_of(std::span<const float> values, ElementType precision);

/// "fp16", "bf16", "fp32".
std::string precision_name(ElementType type);
ElementType precision_from(const std::string& name);
std::vector<std::string> precision_names();

}  // namespace ulmpi
