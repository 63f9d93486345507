#pragma once
// The decoder-only Transformer: an embedding, blocks of causal self-attention and a feed-forward layer, a head.

#include "model/families/family.hpp"

namespace ulmpi {

/// The part of it that stands at `place`. Group 0 is the embedding, a tied output
/// matrix with it; block b is group b + 1, the final norm is of the last block's; the head layers + 1.
StageModules decoder(const ModelConfig& config, const HeadConfig& head, ParameterStore& store, const StagePlace& place);

}  // namespace ulmpi
