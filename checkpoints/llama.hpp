#pragma once
// The Llama family between Hugging Face's transformers and us. Its decoder is ours with RMSNorm, SwiGLU, rotary
// positions (both turn halves of a head) and no biases; only names differ, and that queries, keys and values are one
// matrix here.

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/files/hdf5_file.hpp"
#include "model/config.hpp"

namespace ulmpi {

/// One of our tensors and those of transformers that it is, one upon the other; they share its rows evenly.
struct MappedTensor {
    std::string name;
    Dims shape;
    std::vector<std::string> sources;
};

/// What a config.json describes, without an end of text. Pure. Throws UsageError naming the key whose value this
/// program cannot honour, or that it does not know.
ModelConfig llama_model(const nlohmann::json& config);

/// The config.json of a model; llama_model() of it gives the model back. Pure. Throws UsageError naming the option by
/// which the model is no Llama.
nlohmann::json llama_config(const ModelConfig& model);

/// Every tensor of the model. Pure.
std::vector<MappedTensor> llama_tensors(const ModelConfig& model);

}  // namespace ulmpi
