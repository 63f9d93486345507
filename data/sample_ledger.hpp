#pragma once
// A fingerprint of what a run has read: which sample stood in which row of which global batch.

#include <cstdint>

#include "base/random_key.hpp"

namespace ulmpi {

/// One sample's part. The ledger of a run is the sum of all parts modulo 2^64: replicas add up what each has read, in
/// any order, and a sample that was skipped, repeated or moved changes the sum.
constexpr std::uint64_t ledger_entry(std::uint64_t step, std::uint64_t row, std::uint64_t sample) {
    return random_key(random_key(step, row), sample);
}

}  // namespace ulmpi
