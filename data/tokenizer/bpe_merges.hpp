#pragma once
// The merges of byte-pair encoding, and how they turn a word's bytes into tokens.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/token.hpp"

namespace ulmpi {

/// Two neighbouring tokens and the one that replaces them.
struct BpeMerge {
    Token left, right, merged;
    friend bool operator==(const BpeMerge&, const BpeMerge&) = default;
};

/// Two tokens as one integer; ordered as the pair (left, right).
inline std::uint64_t pair_key(Token left, Token right) {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 | static_cast<std::uint32_t>(right);
}

/// An ordered list of merges; a merge's place in it is its rank. Where a pair stands twice, its last rank counts.
class BpeMerges {
public:
    explicit BpeMerges(std::vector<BpeMerge> merges);

    const std::vector<BpeMerge>& list() const { return merges_; }

    /// Applies the merges to `word`, one token per byte, in place, and returns how many tokens are left. At each step
    /// the pair of the lowest rank is merged, the leftmost of equal ones, until no pair has a rank.
    /// O(n^2) up to 64 tokens, O(n log n) beyond.
    std::size_t apply(std::span<Token> word) const;

private:
    static constexpr std::uint32_t no_rank = UINT32_MAX;

    std::uint32_t rank(Token left, Token right) const;
    std::size_t apply_short(std::span<Token> word) const;
    std::size_t apply_long(std::span<Token> word) const;

    struct Slot {
        std::uint64_t pair;
        std::uint32_t rank;
    };
    std::size_t slot_of(std::uint64_t pair) const { return (pair * 0x9E3779B97F4A7C15u) >> shift_; }

    std::vector<BpeMerge> merges_;
    std::vector<Slot> slots_;  // open addressing, linear probing, at most half full
    int shift_ = 0;
};

}  // namespace ulmpi
