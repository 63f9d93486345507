#pragma once
// The id of a token of the vocabulary.

#include <cstdint>

namespace ulmpi {

/// Ids are dense: 0 .. vocabulary size - 1. Negative values never name a token.
using Token = std::int32_t;

}  // namespace ulmpi
