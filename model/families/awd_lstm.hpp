#pragma once
// AWD-LSTM (Merity, Keskar & Socher 2018), the language model of ULMFiT: an embedding, a stack of LSTMs, the embedding
// again as the output matrix, with a bias.

#include "model/families/family.hpp"

namespace ulmpi {

/// The part of it that stands at `place`. The layers go embedding -> hidden -> … -> hidden -> embedding. Dropped are:
/// rows of the embedding (embedding_dropout), what goes into the first layer (input_), into each layer after it
/// (hidden_), what comes out of the last (output_), and recurrent weights (weight_dropout). Group 0 is the embedding;
/// layer b is group b + 1; the output's bias is of the head's.
StageModules awd_lstm(const ModelConfig& config, const HeadConfig& head, ParameterStore& store,
                      const StagePlace& place);

}  // namespace ulmpi
