#include "model/memory.hpp"

#include <algorithm>

#include "model/arena.hpp"
#include "model/kernels/attention.hpp"
#include "model/layers/lm_head.hpp"

namespace ulmpi {
namespace {

// An arena that has no memory adds up what would be allocated; each function mirrors the allocations of its layer.

/// What Context::allocate_kept does.
void allocate_kept(Arena& arena, const BatchPlan& plan, const Shape& shape) {
    if (plan.precision == Precision::fp32)
        arena.allocate(shape);
    else
        arena.allocate<BFloat16>(shape);
}

void allocate_rounded(Arena& arena, const BatchPlan& plan, std::initializer_list<Shape> factors) {
    if (plan.precision == Precision::fp32) return;
    for (const Shape& factor : factors) arena.allocate<BFloat16>(factor);
}

std::size_t kept_by_block(const ModelConfig& c, const StagePlace& at, const BatchPlan& plan) {
    const std::size_t rows = plan.sequences * plan.length;
    const auto slices = static_cast<std::size_t>(at.slices), slice = static_cast<std::size_t>(at.slice);
    const std::size_t heads = even_slice(c.heads, slices, slice).size(),
                      ffn = even_slice(c.ffn_size(), slices, slice).size();
    Arena arena;
    for (int sublayer = 0; sublayer < 2; ++sublayer) {
        arena.allocate({rows, c.hidden});
        if (c.normalises_before()) arena.allocate({2, rows});
        if (sublayer == 0) {
            allocate_kept(arena, plan, {rows, 3 * heads * c.head_size()});
            arena.allocate({rows, heads * c.head_size()});
            arena.allocate({plan.sequences * heads, plan.length});
        } else {
            allocate_kept(arena, plan, {rows, ffn});
            if (c.activation == Activation::swiglu) allocate_kept(arena, plan, {rows, ffn});
        }
        if (c.normalises_after()) {
            arena.allocate({2, rows});
            arena.allocate({rows, c.hidden});
        }
    }
    return arena.mark();
}

std::size_t shared_by_backward(const ModelConfig& c, const StagePlace& at, const BatchPlan& plan) {
    const std::size_t rows = plan.sequences * plan.length;
    const auto slices = static_cast<std::size_t>(at.slices), slice = static_cast<std::size_t>(at.slice);
    const std::size_t heads = even_slice(c.heads, slices, slice).size(),
                      ffn = even_slice(c.ffn_size(), slices, slice).size();
    Arena arena;
    if (c.residual_dropout > 0 || c.normalises_after()) arena.allocate({rows, c.hidden});
    arena.allocate({rows, c.hidden});
    if (c.normalises_before()) arena.allocate({rows, c.hidden});
    {
        const ArenaScope attention(arena);
        const std::size_t width = heads * c.head_size();
        arena.allocate({rows, width});
        arena.allocate({rows, 3 * width});
        allocate_rounded(arena, plan, {{rows, c.hidden}, {rows, 3 * width}, {rows, width}, {rows, c.hidden}});
    }
    {
        const ArenaScope feed_forward(arena);
        for (int buffer = 0; buffer < (c.activation == Activation::swiglu ? 3 : 2); ++buffer)
            arena.allocate({rows, ffn});
        allocate_rounded(arena, plan, {{rows, ffn}, {rows, c.hidden}, {rows, ffn}, {rows, c.hidden}});
        if (c.activation == Activation::swiglu) allocate_rounded(arena, plan, {{rows, ffn}});
    }
    arena.allocate({static_cast<std::size_t>(plan.threads), 2 * c.hidden});
    return arena.most_used();
}

std::size_t shared_by_head(const ModelConfig& c, const std::optional<ClassifierConfig>& classifier,
                           const StagePlace& at, const BatchPlan& plan) {
    const std::size_t rows = plan.sequences * plan.length, n = plan.sequences;
    Arena arena;
    if (classifier) {
        const std::size_t pooled = pooled_width(classifier->pooling, c.hidden);
        arena.allocate({rows, c.hidden});
        arena.allocate({2, rows});
        DocumentPools::allocate(n, classifier->pooling, c.hidden, arena);
        const bool by_row = classifier->norm == HeadNormKind::layernorm;
        for (std::size_t columns :
             {pooled, classifier->hidden, classifier->hidden, classifier->classes, std::size_t{4}})
            arena.allocate({n, columns});
        for (std::size_t width : {pooled, classifier->hidden}) arena.allocate({2, by_row ? n : width});
    } else {
        const std::size_t ids =
            even_slice(c.vocabulary, static_cast<std::size_t>(at.slices), static_cast<std::size_t>(at.slice)).size();
        const std::size_t chunk = logit_chunk_rows(rows, ids);
        arena.allocate({2, rows});
        for (std::size_t columns : {c.hidden, ids, std::size_t{1}, std::size_t{2}, std::size_t{1}})
            arena.allocate({chunk, columns});
        allocate_rounded(arena, plan, {{chunk, c.hidden}});
        arena.allocate({n, c.hidden});
    }
    arena.allocate({static_cast<std::size_t>(plan.threads), 2 * c.hidden});
    return arena.most_used();
}

std::size_t own_by_worker(const ModelConfig& c, const StagePlace& at, const BatchPlan& plan) {
    const auto threads = static_cast<std::size_t>(plan.threads);
    const std::size_t mine = even_slice(plan.sequences * plan.length, threads, 0).size();
    const auto slices = static_cast<std::size_t>(at.slices), slice = static_cast<std::size_t>(at.slice);
    const std::size_t heads = even_slice(c.heads, slices, slice).size(),
                      ffn = even_slice(c.ffn_size(), slices, slice).size();
    const bool rounds = plan.precision != Precision::fp32;
    Arena arena;
    if (c.normalises_before()) arena.allocate({mine, c.hidden});
    {
        const ArenaScope inwards(arena);
        if (rounds) arena.allocate({mine, 3 * heads * c.head_size()});
        allocate_rounded(arena, plan, {{mine, c.hidden}});
    }
    {
        const ArenaScope attention(arena);
        arena.allocate({attention_scratch(plan.length, c.head_size())});
        if (rounds) arena.allocate({3, plan.length, c.head_size()});
    }
    {
        const ArenaScope activated(arena);
        if (rounds) arena.allocate({mine, ffn});
        if (rounds && c.activation == Activation::swiglu) arena.allocate({mine, ffn});
        {
            const ArenaScope inwards(arena);
            allocate_rounded(arena, plan, {{mine, c.hidden}});
        }
        arena.allocate({mine, ffn});
        allocate_rounded(arena, plan, {{mine, ffn}});
    }
    return arena.most_used();
}

}  // namespace

ActivationBytes activation_bytes(const ModelConfig& c, const std::optional<ClassifierConfig>& classifier,
                                 const StagePlace& at, const BatchPlan& plan) {
    const std::size_t rows = plan.sequences * plan.length;
    Arena ends;  // the stage's input, and the gradient
    ends.allocate({rows, c.hidden});
    if (plan.training) ends.allocate({rows, c.hidden});
    ActivationBytes bytes;
    bytes.kept = ends.mark() + at.blocks(c).size() * kept_by_block(c, at, plan);
    if (plan.training) bytes.shared = shared_by_backward(c, at, plan);
    if (at.last()) bytes.shared = std::max(bytes.shared, shared_by_head(c, classifier, at, plan));
    bytes.own = own_by_worker(c, at, plan);
    if (at.last() && classifier) {
        Arena pools;
        DocumentPools::allocate(plan.documents, classifier->pooling, c.hidden, pools);
        bytes.pools = pools.mark();
    }
    return bytes;
}

}  // namespace ulmpi
