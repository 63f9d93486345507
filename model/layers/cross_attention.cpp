#include "model/layers/cross_attention.hpp"

#include <cmath>

#include "model/kernels/elementwise.hpp"

namespace ulmpi {
namespace {

Range heads_of(const ModelConfig& config, int slice, int slices) {
    return even_slice(config.heads, static_cast<std::size_t>(slices), static_cast<std::size_t>(slice));
}

/// `stacked` matrices, one upon the other, each from or (axis 1) to the rows of the heads of a slice.
LinearOptions options(const ModelConfig& config, const std::string& name, std::size_t stacked, int axis, int group,
                      int slice, int slices) {
    const Range heads = heads_of(config, slice, slices);
    LinearOptions o{.name = name,
                    .out = stacked * config.hidden,
                    .in = config.hidden,
                    .slicing = {axis, {}},
                    .bias = config.linear_bias && config.attention_bias,
                    .group = group,
                    .stacked = static_cast<int>(stacked),
                    .first_slice = slice == 0};
    if (axis == 1) o.deviation = residual_deviation(config);
    for (std::size_t part = 0; slices > 1 && part < stacked; ++part)
        o.slicing.ranges.push_back({part * config.hidden + heads.first * config.head_size(),
                                    part * config.hidden + heads.last * config.head_size()});
    return o;
}

}  // namespace

CrossAttention::CrossAttention(ParameterStore& store, const ModelConfig& config, const std::string& name, int group,
                               int slice, int slices, std::uint32_t place)
    : hidden_(config.hidden),
      head_size_(config.head_size()),
      heads_(heads_of(config, slice, slices)),
      dropout_(config.attention_dropout),
      place_(place),
      q_(store, options(config, name + ".q", 1, 0, group, slice, slices)),
      kv_(store, options(config, name + ".kv", 2, 0, group, slice, slices)),
      out_(store, options(config, name + ".out", 1, 1, group, slice, slices)) {}

CrossAttention::CrossKept CrossAttention::keep(Rooms& rooms) const {
    const std::size_t rows = rooms.all_rows(), sources = rooms.rows_of(Side::sources);
    return {rooms.keep({rows, width()}), rooms.keep({sources, 2 * width()}), rooms.kept.allocate({rows, width()}),
            rooms.kept.allocate({rooms.sequences * heads_.size(), rooms.length})};
}

CrossAttention::Inwards CrossAttention::inwards(Rooms& rooms, const Kept& projection) const {
    return {rooms.open(projection), rooms.rounding(rooms.own, {rooms.rows.size(), hidden_})};
}

CrossAttention::HeadRoom CrossAttention::head_room(Rooms& rooms) const {
    const View<Real> scratch = rooms.own.allocate({attention_scratch(rooms.source_length)});
    if (rooms.precision == Precision::fp32) return {scratch, {}, {}};
    return {scratch, rooms.own.allocate({rooms.length, head_size_}),
            rooms.own.allocate({2, rooms.source_length, head_size_})};
}

CrossAttention::Work CrossAttention::work(Rooms& rooms) const {
    const std::size_t rows = rooms.all_rows(), sources = rooms.rows_of(Side::sources);
    const Shape in{rows, hidden_}, memory{sources, hidden_}, q{rows, width()}, kv{sources, 2 * width()};
    return {rooms.shared.allocate(q),      rooms.until_weights(q),    rooms.until_weights(kv),
            rooms.shared.allocate(memory), rooms.weights_rounding(q), rooms.weights_rounding(kv),
            rooms.weights_rounding(q),     rooms.weights_factor(in),  rooms.weights_factor(in),
            rooms.weights_factor(memory)};
}

void CrossAttention::plan_forward(Rooms& rooms) const {
    const CrossKept kept = keep(rooms);
    {
        const ArenaScope scope(rooms.own);
        inwards(rooms, kept.q);
    }
    {
        const OnSources sources(rooms);
        const ArenaScope scope(rooms.own);
        inwards(rooms, kept.kv);
    }
    {
        const ArenaScope scope(rooms.own);
        head_room(rooms);
    }
    const ArenaScope scope(rooms.own);
    outwards(rooms);
}

void CrossAttention::plan_backward(Rooms& rooms) const {
    const ArenaScope scope(rooms.shared), own_scope(rooms.own);
    work(rooms);
    head_room(rooms);
}

AttentionCall CrossAttention::call(Item item, const Head& in, const DropoutSite& site, const Context& context) const {
    return {.queries = context.length,
            .keys = context.source_length,
            .head_size = head_size_,
            .stride = in.stride,
            .key_stride = in.key_stride,
            .out_stride = width(),
            .gradient_stride = width(),
            .key_gradient_stride = 2 * width(),
            .scale = Real(1) / std::sqrt(static_cast<Real>(head_size_)),
            .sees = context.memory_keys.data() + item.sequence * context.length,
            .dropout = site.probability > 0 ? &site : nullptr,
            .sequence = context.batch.first_sequence + static_cast<std::uint32_t>(item.sequence),
            .head = static_cast<std::uint32_t>(heads_.first + item.head)};
}

// Of what was rounded, one head of one sequence at a time is widened.
CrossAttention::Head CrossAttention::head(const CrossKept& kept, Item item, const HeadRoom& room,
                                          const Context& context) const {
    const std::size_t first = item.sequence * context.length, first_source = item.sequence * context.source_length;
    const std::size_t column = item.head * head_size_;
    if (kept.q.rounded.empty()) {
        const Real* const k = kept.kv.full.row(first_source) + column;
        return {kept.q.full.row(first) + column, k, k + width(), width(), 2 * width()};
    }
    widen_bfloat16({room.q.data, context.length, head_size_},
                   {kept.q.rounded.row(first) + column, context.length, head_size_, width()});
    for (std::size_t part = 0; part < 2; ++part)
        widen_bfloat16({room.kv.row(part), context.source_length, head_size_},
                       {kept.kv.rounded.row(first_source) + part * width() + column, context.source_length, head_size_,
                        2 * width()});
    return {room.q.data, room.kv.row(0), room.kv.row(1), head_size_, head_size_};
}

// each(index, its place, its call, its operands, scratch) of this worker's heads.
template <typename Each>
void CrossAttention::for_each_head(const CrossKept& kept, Context& context, Each each) const {
    const DropoutSite site = context.site(place_, dropout_);
    const ArenaScope scope(context.own);
    const HeadRoom room = head_room(context);
    const Range items = context.team.share(context.sequences * heads_.size());
    for (std::size_t index = items.first; index < items.last; ++index) {
        const Item at = item(index);
        const Head in = head(kept, at, room, context);
        each(index, at, call(at, in, site, context), in, room.scratch.data);
    }
}

// q = x W_q^T + b,  k | v = memory W_kv^T + b,  out = softmax(q k^T / sqrt(d)) v by head,
// y = sum over slices of out W_out^T + b
void CrossAttention::forward(View<Real> y, View<const Real> x, const Flow& flow, Context& context) const {
    const View<Real> memory = flow[Lane::memory];
    context.begin(this, memory);
    const CrossKept kept = keep(context);
    {
        const ArenaScope scope(context.own);
        const Inwards room = inwards(context, kept.q);
        q_.forward(room.projected, context.own_factor(x, room.rounded));
        context.close(kept.q, room.projected);
    }
    {
        const OnSources sources(context);
        const ArenaScope scope(context.own);
        const Inwards room = inwards(context, kept.kv);
        kv_.forward(room.projected, context.own_factor(memory.rows(context.rows), room.rounded));
        context.close(kept.kv, room.projected);
    }
    context.barrier_before_mixing_rows();
    for_each_head(kept, context,
                  [&](std::size_t index, Item at, const AttentionCall& its, const Head& in, Real* scratch) {
                      attention_forward(kept.out.row(at.sequence * context.length) + at.head * head_size_,
                                        kept.log_sum.row(index), in.q, in.k, in.v, its, scratch);
                  });
    context.barrier_before_mixing_rows();
    const Range mine = context.rows;
    {
        const ArenaScope scope(context.own);
        out_.forward(y.rows(mine), context.own_factor(kept.out.rows(mine), outwards(context)));
    }
    context.sum_over_slices(y);
    out_.add_bias_to(y.rows(mine));
}

void CrossAttention::backward_of_heads(const CrossKept& kept, const Work& room, Context& context) const {
    for_each_head(
        kept, context, [&](std::size_t index, Item at, const AttentionCall& its, const Head& in, Real* scratch) {
            const std::size_t first = at.sequence * context.length, column = at.head * head_size_;
            Real* const dk = room.dkv.row(at.sequence * context.source_length) + column;
            attention_backward(room.dq.row(first) + column, dk, dk + width(), room.dout.row(first) + column,
                               kept.out.row(first) + column, kept.log_sum.row(index), in.q, in.k, in.v, its, scratch);
        });
}

void CrossAttention::backward(View<Real> dx, View<const Real> dy, View<const Real> x, Flow& gradient,
                              Context& context) const {
    const Range mine = context.rows, sources = context.source_rows;
    const View<const Real> memory = context.beginning(this).input;
    Rooms rooms_then = context.again(this);
    const CrossKept kept = keep(rooms_then);
    const ArenaScope scope(context.shared);
    const Work room = work(context);
    const Factor dy_factor = context.shared_factor(dy, room.dy);
    out_.backward_input(room.dout.rows(mine), dy_factor.row_range(mine));
    context.barrier_before_mixing_rows();
    backward_of_heads(kept, room, context);
    context.barrier_before_mixing_rows();

    const Factor dq = context.shared_factor(room.dq, room.rounded_dq),
                 dkv = context.shared_factor(room.dkv, room.rounded_dkv, sources);
    q_.backward_input(dx.rows(mine), dq.row_range(mine));
    kv_.backward_input(room.dmemory.rows(sources), dkv.row_range(sources));
    const Factor out_factor = context.shared_factor(kept.out, room.rounded_out),
                 x_factor = context.shared_factor(x, room.x),
                 memory_factor = context.shared_factor(memory, room.memory, sources);
    context.team.barrier();
    out_.backward_weights(dy, dy_factor, out_factor, context);
    q_.backward_weights(room.dq, dq, x_factor, context);
    kv_.backward_weights(room.dkv, dkv, memory_factor, context);
    context.team.barrier();
    context.sum_over_slices(dx);
    context.sum_over_slices(room.dmemory);
    add(gradient[Lane::memory].row(sources.first), room.dmemory.row(sources.first), sources.size() * hidden_);
    context.team.barrier();  // before others take the temporaries
}

}  // namespace ulmpi
