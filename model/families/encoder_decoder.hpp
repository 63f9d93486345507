#pragma once
// The Transformer of 2017 (Vaswani et al.): an encoder that sees all of a source, a decoder that sees the target before
// it and the encoder's output. One embedding for sources, targets and the output.

#include "model/families/family.hpp"

namespace ulmpi {

/// The part of it that stands at `place`: of the layers, the first config.encoder_layers are the encoder's. The first
/// stage embeds source and target; the target waits in a lane of its own until the decoder begins. Group 0 is the
/// embedding, layer b is group b + 1, an encoder's final norm of its last layer's. Throws UsageError where a
/// classifier's head is asked for.
StageModules encoder_decoder(const ModelConfig& config, const HeadConfig& head, ParameterStore& store,
                             const StagePlace& place);

}  // namespace ulmpi
