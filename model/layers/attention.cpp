#include "model/layers/attention.hpp"

#include <array>
#include <cmath>

namespace ulmpi {
namespace {

// Slice `slice` of the heads of keys and values, and of the queries that share them.
Range key_heads(const ModelConfig& config, int slice, int slices) {
    return even_slice(config.key_heads(), static_cast<std::size_t>(slices), static_cast<std::size_t>(slice));
}

Range scaled(Range range, std::size_t factor) { return {range.first * factor, range.last * factor}; }

LinearOptions qkv_options(const ModelConfig& config, const std::string& name, int group, int slice, int slices) {
    const std::size_t d = config.head_size(), queries = config.hidden, keys = config.key_heads() * d;
    LinearOptions options{.name = name + ".qkv",
                          .out = queries + 2 * keys,
                          .in = config.hidden,
                          .slicing = {},
                          .bias = config.linear_bias && config.attention_bias,
                          .group = group,
                          .stacked = 3,
                          .first_slice = slice == 0};
    if (slices == 1) return options;
    const Range its_keys = scaled(key_heads(config, slice, slices), d),
                its_queries = scaled(its_keys, config.heads / config.key_heads());
    options.slicing.ranges = {its_queries,
                              {queries + its_keys.first, queries + its_keys.last},
                              {queries + keys + its_keys.first, queries + keys + its_keys.last}};
    return options;
}

LinearOptions out_options(const ModelConfig& config, const std::string& name, int group, int slice, int slices) {
    LinearOptions options{.name = name + ".out",
                          .out = config.hidden,
                          .in = config.hidden,
                          .slicing = {},
                          .bias = config.linear_bias && config.attention_bias,
                          .group = group,
                          .deviation = residual_deviation(config),
                          .first_slice = slice == 0};
    const std::size_t its_width = config.head_size() * config.heads / config.key_heads();
    if (slices > 1) options.slicing = {1, {scaled(key_heads(config, slice, slices), its_width)}};
    return options;
}

}  // namespace

Attention::Attention(ParameterStore& store, const ModelConfig& config, const std::string& name, int group, int slice,
                     int slices, std::uint32_t place)
    : hidden_(config.hidden),
      head_size_(config.head_size()),
      shared_by_(config.heads / config.key_heads()),
      key_heads_(key_heads(config, slice, slices)),
      heads_(scaled(key_heads_, shared_by_)),
      dropout_(config.attention_dropout),
      place_(place),
      rotary_(config.position == PositionEmbedding::rotary ? std::make_unique<RotaryTable>(config.context, head_size_)
                                                           : nullptr),
      qkv_(store, qkv_options(config, name, group, slice, slices)),
      out_(store, out_options(config, name, group, slice, slices)) {}

AttentionCall Attention::call(Item item, const Head& in, const DropoutSite& site, const Context& context) const {
    const std::size_t length = context.length;
    return {.queries = length,
            .keys = length,
            .head_size = head_size_,
            .stride = in.stride,
            .key_stride = in.stride,
            .out_stride = width(),
            .gradient_stride = qkv_width(),
            .key_gradient_stride = qkv_width(),
            .scale = Real(1) / std::sqrt(static_cast<Real>(head_size_)),
            .sees = context.keys.empty() ? nullptr : context.keys.data() + item.sequence * length,
            .dropout = site.probability > 0 ? &site : nullptr,
            .sequence = context.batch.first_sequence + static_cast<std::uint32_t>(item.sequence),
            .head = static_cast<std::uint32_t>(heads_.first + item.head),
            .adds_keys = !item.first};
}

// q and k stand side by side in a row: their heads turn together.
template <typename Rotate>
void Attention::rotate_rows(View<Real> mine, const Context& context, Rotate rotate) const {
    if (!rotary_) return;
    context.for_each_run([&](std::size_t, std::size_t position, Range rows) {
        rotate(mine.row(rows.first - context.rows.first), *rotary_, position, rows.size(),
               heads_.size() + key_heads_.size(), mine.columns());
    });
}

Attention::AttentionKept Attention::keep(Rooms& rooms) const {
    return {rooms.keep({rooms.all_rows(), qkv_width()}), rooms.kept.allocate({rooms.all_rows(), width()}),
            rooms.kept.allocate({rooms.sequences * heads_.size(), rooms.length})};
}

Attention::Inwards Attention::inwards(Rooms& rooms, const Kept& qkv) const {
    return {rooms.open(qkv), rooms.rounding(rooms.own, {rooms.rows.size(), hidden_})};
}

Attention::HeadRoom Attention::head_room(Rooms& rooms) const {
    const View<Real> scratch = rooms.own.allocate({attention_scratch(rooms.length)});
    if (rooms.precision == Precision::fp32) return {scratch, {}};
    return {scratch, rooms.own.allocate({3, rooms.length, head_size_})};
}

Attention::Work Attention::work(Rooms& rooms) const {
    const Shape in{rooms.all_rows(), hidden_}, out{rooms.all_rows(), width()}, qkv{rooms.all_rows(), qkv_width()};
    return {rooms.shared.allocate(out),  rooms.until_weights(qkv), rooms.weights_rounding(qkv),
            rooms.weights_rounding(out), rooms.weights_factor(in), rooms.weights_factor(in)};
}

void Attention::plan_forward(Rooms& rooms) const {
    const AttentionKept kept = keep(rooms);
    {
        const ArenaScope scope(rooms.own);
        inwards(rooms, kept.qkv);
    }
    {
        const ArenaScope scope(rooms.own);
        head_room(rooms);
    }
    const ArenaScope scope(rooms.own);
    outwards(rooms);
}

void Attention::plan_backward(Rooms& rooms) const {
    const ArenaScope scope(rooms.shared), own_scope(rooms.own);
    work(rooms);
    head_room(rooms);
}

// Of what was rounded, one head of one sequence at a time is widened.
Attention::Head Attention::head(const Kept& qkv, Item item, View<Real> wide, const Context& context) const {
    const std::size_t length = context.length;
    const std::size_t first = item.sequence * length, key = width() + item.key_head * head_size_;
    const std::array<std::size_t, 3> columns{item.head * head_size_, key, key + key_width()};
    if (qkv.rounded.empty()) {
        const Real* row = qkv.full.row(first);
        return {row + columns[0], row + columns[1], row + columns[2], qkv_width()};
    }
    for (std::size_t part = 0; part < 3; ++part)
        widen_bfloat16({wide.row(part), length, head_size_},
                       {qkv.rounded.row(first) + columns[part], length, head_size_, qkv_width()});
    return {wide.row(0), wide.row(1), wide.row(2), head_size_};
}

// qkv = x W_qkv^T + b,  out = softmax(q k^T / sqrt(d)) v by head,  y = sum over slices of out W_out^T + b
void Attention::forward(View<Real> y, View<const Real> x, const Flow&, Context& context) const {
    context.begin(this);
    const AttentionKept kept = keep(context);
    const Range mine = context.rows;
    {
        const ArenaScope scope(context.own);
        const Inwards room = inwards(context, kept.qkv);
        qkv_.forward(room.qkv, context.own_factor(x, room.x));
        rotate_rows(room.qkv, context, rotary_forward);
        context.close(kept.qkv, room.qkv);
    }

    context.barrier_before_mixing_rows();
    const DropoutSite site = context.site(place_, dropout_);
    {
        const ArenaScope scope(context.own);
        const HeadRoom room = head_room(context);
        const Range mine_of_all = items(context);
        for (std::size_t index = mine_of_all.first; index < mine_of_all.last; ++index) {
            const Item at = item(index);
            const Head in = head(kept.qkv, at, room.wide, context);
            attention_forward(kept.out.row(at.sequence * context.length) + at.head * head_size_,
                              kept.log_sum.row(index), in.q, in.k, in.v, call(at, in, site, context),
                              room.scratch.data);
        }
    }
    context.barrier_before_mixing_rows();

    {
        const ArenaScope scope(context.own);
        out_.forward(y.rows(mine), context.own_factor(kept.out.rows(mine), outwards(context)));
    }
    context.sum_over_slices(y);
    out_.add_bias_to(y.rows(mine));
}

void Attention::backward(View<Real> dx, View<const Real> dy, View<const Real> x, Flow&, Context& context) const {
    const Range mine = context.rows;
    Rooms rooms_then = context.again(this);
    const AttentionKept kept = keep(rooms_then);
    const ArenaScope scope(context.shared);
    const Work room = work(context);
    const Factor dy_factor = context.shared_factor(dy, room.dy);
    out_.backward_input(room.dout.rows(mine), dy_factor.row_range(mine));

    context.barrier_before_mixing_rows();
    const DropoutSite site = context.site(place_, dropout_);
    {
        const ArenaScope own_scope(context.own);
        const HeadRoom heads = head_room(context);
        const Range mine_of_all = items(context);
        for (std::size_t index = mine_of_all.first; index < mine_of_all.last; ++index) {
            const Item at = item(index);
            const Head in = head(kept.qkv, at, heads.wide, context);
            const std::size_t first = at.sequence * context.length, column = at.head * head_size_;
            Real* const dqkv = room.dqkv.row(first);
            Real* const dk = dqkv + width() + at.key_head * head_size_;
            attention_backward(dqkv + column, dk, dk + key_width(), room.dout.row(first) + column,
                               kept.out.row(first) + column, kept.log_sum.row(index), in.q, in.k, in.v,
                               call(at, in, site, context), heads.scratch.data);
        }
    }
    context.barrier_before_mixing_rows();

    rotate_rows(room.dqkv.rows(mine), context, rotary_backward);
    const Factor dqkv_factor = context.shared_factor(room.dqkv, room.rounded_dqkv);
    qkv_.backward_input(dx.rows(mine), dqkv_factor.row_range(mine));
    const Factor out_factor = context.shared_factor(kept.out, room.rounded_out),
                 x_factor = context.shared_factor(x, room.x);
    context.team.barrier();
    out_.backward_weights(dy, dy_factor, out_factor, context);
    qkv_.backward_weights(room.dqkv, dqkv_factor, x_factor, context);
    context.team.barrier();
    context.sum_over_slices(dx);
}

}  // namespace ulmpi
