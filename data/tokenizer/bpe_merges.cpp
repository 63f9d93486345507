#include "data/tokenizer/bpe_merges.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <queue>
#include <utility>

#include "base/error.hpp"

namespace ulmpi {

namespace {

constexpr std::size_t short_word = 64;

}  // namespace

BpeMerges::BpeMerges(std::vector<BpeMerge> merges) : merges_(std::move(merges)) {
    const std::size_t capacity = std::bit_ceil(std::max<std::size_t>(2 * merges_.size(), 2));
    shift_ = 64 - std::countr_zero(capacity);
    slots_.assign(capacity, {0, no_rank});
    for (std::size_t r = 0; r < merges_.size(); ++r) {
        const std::uint64_t pair = pair_key(merges_[r].left, merges_[r].right);
        std::size_t at = slot_of(pair);
        while (slots_[at].rank != no_rank && slots_[at].pair != pair) at = (at + 1) & (capacity - 1);
        slots_[at] = {pair, static_cast<std::uint32_t>(r)};
    }
}

std::uint32_t BpeMerges::rank(Token left, Token right) const {
    const std::uint64_t pair = pair_key(left, right);
    std::size_t at = slot_of(pair);
    while (slots_[at].pair != pair && slots_[at].rank != no_rank) at = (at + 1) & (slots_.size() - 1);
    return slots_[at].pair == pair ? slots_[at].rank : no_rank;
}

std::size_t BpeMerges::apply(std::span<Token> word) const {
    return word.size() <= short_word ? apply_short(word) : apply_long(word);
}

std::size_t BpeMerges::apply_short(std::span<Token> word) const {
    std::size_t size = word.size();
    std::array<std::uint32_t, short_word> ranks;  // ranks[i] is that of the pair (word[i], word[i + 1])
    for (std::size_t i = 0; i + 1 < size; ++i) ranks[i] = rank(word[i], word[i + 1]);
    while (size > 1) {
        const auto* best = std::min_element(ranks.data(), ranks.data() + size - 1);
        if (*best == no_rank) break;
        const auto i = static_cast<std::size_t>(best - ranks.data());
        word[i] = merges_[*best].merged;
        std::copy(word.begin() + static_cast<std::ptrdiff_t>(i) + 2, word.begin() + static_cast<std::ptrdiff_t>(size),
                  word.begin() + static_cast<std::ptrdiff_t>(i) + 1);
        if (i + 2 < size) std::copy(best + 2, best - i + size - 1, ranks.data() + i + 1);
        --size;
        if (i > 0) ranks[i - 1] = rank(word[i - 1], word[i]);
        if (i + 1 < size) ranks[i] = rank(word[i], word[i + 1]);
    }
    return size;
}

// The tokens form a linked list over their first positions, and a heap holds the pairs by (rank, position). A merge
// changes the pairs around it: what the heap says of those is found stale when it comes up.
std::size_t BpeMerges::apply_long(std::span<Token> word) const {
    constexpr std::uint32_t none = UINT32_MAX;
    check(word.size() < none, "a word without a break has 4 GiB or more; split the text");
    const auto size = static_cast<std::uint32_t>(word.size());
    struct Link {
        std::uint32_t previous, next;
    };
    std::vector<Link> links(size);
    std::vector<std::uint64_t> pairs;  // rank << 32 | position of the left token
    const auto push = [&](std::uint32_t left, std::uint32_t right, auto&& put) {
        const std::uint32_t r = rank(word[left], word[right]);
        if (r != no_rank) put(static_cast<std::uint64_t>(r) << 32 | left);
    };
    for (std::uint32_t i = 0; i < size; ++i) {
        links[i] = {i == 0 ? none : i - 1, i + 1 == size ? none : i + 1};
        if (i + 1 < size) push(i, i + 1, [&](std::uint64_t pair) { pairs.push_back(pair); });
    }
    std::priority_queue heap(std::greater<std::uint64_t>{}, std::move(pairs));
    constexpr Token absorbed = -1;
    while (!heap.empty()) {
        const std::uint64_t top = heap.top();
        heap.pop();
        const auto left = static_cast<std::uint32_t>(top);
        const std::uint32_t right = links[left].next;
        if (word[left] == absorbed || right == none || rank(word[left], word[right]) != top >> 32) continue;
        word[left] = merges_[top >> 32].merged;
        word[right] = absorbed;
        const std::uint32_t next = links[left].next = links[right].next;
        const auto put = [&](std::uint64_t pair) { heap.push(pair); };
        if (next != none) {
            links[next].previous = left;
            push(left, next, put);
        }
        if (links[left].previous != none) push(links[left].previous, left, put);
    }
    return static_cast<std::size_t>(std::remove(word.begin(), word.end(), absorbed) - word.begin());
}

}  // namespace ulmpi
