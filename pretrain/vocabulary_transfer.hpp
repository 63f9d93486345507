#pragma once
// A language model takes over the tokenizer of a domain's shards: data/tokenizer/vocabulary_map.hpp says from which of
// its own tokens each of theirs is made, checkpoints/load.cpp makes the rows.

#include "data/token_dataset.hpp"
#include "data/tokenizer/vocabulary_map.hpp"
#include "parallel/communicator.hpp"
#include "pretrain/language_model_spec.hpp"

namespace ulmpi {

/// Tokens of the dataset that are known (VocabularyMap), as a share of all of them. Each rank counts a part.
/// Collective.
double known_share(const VocabularyMap& map, const TokenDataset& dataset, const Communicator& world);

/// From the tokenizer of spec.source to the shards'. Rank 0 says how much they have in common. Collective.
VocabularyMap transferred_vocabulary(const LanguageModelSpec& spec, const TokenDataset& shards,
                                     const Communicator& world);

}  // namespace ulmpi
