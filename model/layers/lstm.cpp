#include "model/layers/lstm.hpp"

#include <algorithm>
#include <cmath>

#include "model/kernels/elementwise.hpp"
#include "model/kernels/factor.hpp"

namespace ulmpi {
namespace {

constexpr std::size_t gates = 4;

// A product W x begins about as large as x. The smaller weights of torch.nn.LSTM, even between -1 / sqrt(width) and its
// opposite, let so little through three layers that training stays long at the words' frequencies (docs/LOG.md).
double deviation(std::size_t columns) { return 1 / std::sqrt(static_cast<double>(columns)); }

Slicing gate_rows(const LstmOptions& o, Range units, int slices) {
    Slicing slicing;
    for (std::size_t gate = 0; slices > 1 && gate < gates; ++gate)
        slicing.ranges.push_back({gate * o.width + units.first, gate * o.width + units.last});
    return slicing;
}

Range units_of(const LstmOptions& o, int slice, int slices) {
    return even_slice(o.width, static_cast<std::size_t>(slices), static_cast<std::size_t>(slice));
}

StateId declare_state(std::vector<StateShape>& states, StateShape shape) {
    states.push_back(std::move(shape));
    return static_cast<StateId>(states.size() - 1);
}

}  // namespace

Lstm::Lstm(ParameterStore& store, std::vector<StateShape>& states, const LstmOptions& o, int slice, int slices)
    : store_(store),
      in_(o.in),
      width_(o.width),
      units_(units_of(o, slice, slices)),
      weight_dropout_(o.weight_dropout),
      place_(o.dropout_place),
      input_(store, {.name = o.name + ".input",
                     .out = gates * o.width,
                     .in = o.in,
                     .slicing = gate_rows(o, units_, slices),
                     .group = o.group,
                     .deviation = deviation(o.in),
                     .stacked = gates,
                     .first_slice = slice == 0}),
      weight_(store.declare({.name = o.name + ".hidden.weight",
                             .global = {gates * o.width, o.width},
                             .local = {},
                             .slicing = gate_rows(o, units_, slices),
                             .init = Init::normal(deviation(o.width)),
                             .group = o.group,
                             .counted = slices > 1 || slice == 0,
                             .stacked = gates})),
      bias_(store.declare({.name = o.name + ".hidden.bias",
                           .global = {gates * o.width},
                           .local = {},
                           .slicing = gate_rows(o, units_, slices),
                           .init = {},
                           .group = o.group,
                           .counted = slices > 1 || slice == 0})),
      h_(declare_state(states, {o.name + ".h", o.width, {}, slice == 0})),
      c_(declare_state(
          states, {o.name + ".c", o.width, slices > 1 ? Slicing{1, {units_}} : Slicing{}, slices > 1 || slice == 0})) {}

Lstm::LstmKept Lstm::keep(Rooms& rooms) const {
    const auto allocate = [&](Shape shape) { return rooms.kept.allocate(shape); };
    return {allocate({rooms.all_rows(), gates * units_.size()}), allocate({rooms.all_rows(), units_.size()}),
            allocate({rooms.all_rows(), width_}), allocate({rooms.sequences, units_.size()}),
            allocate({rooms.sequences, width_})};
}

Lstm::Work Lstm::work(Rooms& rooms) const {
    Work room;
    if (weight_dropout_ > 0) {
        room.weights = rooms.shared.allocate({gates * units_.size(), width_});
        room.rounded_weights = rooms.rounding(rooms.shared, {gates * units_.size(), width_});
    }
    if (units_.size() < width_) room.h = rooms.shared.allocate({rooms.sequences, width_});
    return room;
}

Lstm::Back Lstm::back(Rooms& rooms) const {
    const auto allocate = [&](Shape shape) { return rooms.shared.allocate(shape); };
    const Work room = work(rooms);
    return {room,
            allocate({rooms.sequences, width_}),
            allocate({rooms.sequences, units_.size()}),
            allocate({rooms.all_rows(), width_}),
            weight_dropout_ > 0 ? allocate({gates * units_.size(), width_}) : View<Real>{},
            rooms.weights_rounding({rooms.all_rows(), gates * units_.size()}),
            rooms.rounding(rooms.shared, {rooms.all_rows(), width_}),
            rooms.weights_factor({rooms.all_rows(), in_})};
}

void Lstm::plan_forward(Rooms& rooms) const {
    keep(rooms);
    const ArenaScope scope(rooms.shared);
    {
        const ArenaScope own_scope(rooms.own);
        inwards(rooms);
    }
    const ArenaScope own_scope(rooms.own);
    work(rooms);
    of_position(rooms, width_);
}

void Lstm::plan_backward(Rooms& rooms) const {
    input_gradient(rooms);
    const ArenaScope scope(rooms.shared), own_scope(rooms.own);
    back(rooms);
    of_position(rooms, gates * units_.size());
}

Matrix<const Real> Lstm::h_before(const LstmKept& kept, std::size_t t, std::size_t length) const {
    if (t == 0) return kept.first_h;
    return {kept.h.row(t - 1), kept.h.rows() / length, width_, length * width_};
}

const Real* Lstm::c_before(const LstmKept& kept, std::size_t sequence, std::size_t t, std::size_t length) const {
    return t == 0 ? kept.first_c.row(sequence) : kept.c.row(sequence * length + t - 1);
}

LstmGates Lstm::gates_at(const LstmKept& kept, std::size_t row, std::size_t unit) const {
    Real* const i = kept.gates.row(row) + unit;
    const std::size_t u = units_.size();
    return {i, i + u, i + 2 * u, i + 3 * u};
}

std::uint32_t Lstm::whole_row(std::size_t row) const {
    const std::size_t gate = row / units_.size(), unit = units_.first + row % units_.size();
    return static_cast<std::uint32_t>(gate * width_ + unit);
}

// W, or W mask / (1 - p), of which each worker computes some rows: behind a barrier all are there.
Factor Lstm::weights(const Work& room, const Context& context) const {
    if (!drops(context)) return store_.factor(weight_);
    const View<const Real> w = std::as_const(store_).value(weight_);
    const DropoutSite site = context.site(place_, weight_dropout_);
    const Range mine = context.team.share(w.rows());
    for (std::size_t row = mine.first; row < mine.last; ++row) {
        context.mask_row(room.weights.row(row), site, whole_row(row), 0, width_);
        multiply(room.weights.row(row), w.row(row), width_);
    }
    return context.shared_factor(room.weights, room.rounded_weights, mine);
}

void Lstm::begin_window(const LstmKept& kept, const Context& context) const {
    const Range mine = context.team.share(context.batch.sequences);
    const auto begin = [&](View<Real> first, StateId id) {
        CarriedStates* const states = context.options.states;
        if (states == nullptr)
            std::fill_n(first.row(mine.first), mine.size() * first.columns(), Real(0));
        else
            std::copy_n(states->at(id, Turn::before).row(context.batch.first_sequence + mine.first),
                        mine.size() * first.columns(), first.row(mine.first));
    };
    begin(kept.first_h, h_);
    begin(kept.first_c, c_);
}

void Lstm::end_window(const LstmKept& kept, const Context& context) const {
    CarriedStates* const states = context.options.states;
    if (states == nullptr) return;
    const Range mine = context.team.share(context.batch.sequences);
    const auto end = [&](StateId id, View<Real> values) {
        for (std::size_t s = mine.first; s < mine.last; ++s)
            std::copy_n(values.row((s + 1) * context.length - 1), values.columns(),
                        states->at(id, Turn::after).row(context.batch.first_sequence + s));
    };
    end(h_, kept.h);
    end(c_, kept.c);
}

// Every slice has all units of position t: each adds its own to zeros.
void Lstm::collect(View<Real> h, std::size_t t, const Work& room, const Context& context) const {
    if (context.slices == 1) return context.team.barrier();
    context.team.single([&] {
        for (std::size_t s = 0; s < context.sequences; ++s) {
            std::fill_n(room.h.row(s), width_, Real(0));
            std::copy_n(h.row(s * context.length + t) + units_.first, units_.size(), room.h.row(s) + units_.first);
        }
        context.tensor.all_reduce_sum(room.h.flat());
        for (std::size_t s = 0; s < context.sequences; ++s)
            std::copy_n(room.h.row(s), width_, h.row(s * context.length + t));
    });
}

// gates = x W_in^T + b_in + b;  then for t = 0, 1, …: gates_t += h_{t-1} W^T, and the cell.
void Lstm::forward(Flow& flow, Context& context) const {
    const View<Real> x = flow[Lane::hidden];
    context.begin(this, x);
    const LstmKept kept = keep(context);
    const Range rows = context.rows, mine = context.team.share(units_.size());
    {
        const ArenaScope scope(context.own);
        const View<Real> sums = kept.gates.rows(rows);
        input_.forward(sums, context.own_factor(Matrix<const Real>(x).row_range(rows), inwards(context)));
        add_bias(sums.data, store_.value(bias_).data, sums.rows(), sums.columns());
    }
    const ArenaScope scope(context.shared);
    const Work room = work(context);
    const ArenaScope own_scope(context.own);
    const View<BFloat16> rounded_h = of_position(context, width_);
    const Factor w = weights(room, context);
    begin_window(kept, context);
    context.team.barrier();
    const std::size_t length = context.length, u = units_.size();
    for (std::size_t t = 0; t < length; ++t) {
        const Matrix<Real> sums(kept.gates.row(t), context.sequences, gates * u, length * gates * u);
        const Factor h = context.own_factor(h_before(kept, t, length), rounded_h);
        for (std::size_t gate = 0; gate < gates; ++gate) {
            const Range some{gate * u + mine.first, gate * u + mine.last};
            matmul_nt(sums.column_range(some), h, w.row_range(some), true);
        }
        for (std::size_t s = 0; s < context.sequences; ++s) {
            const std::size_t row = s * length + t;
            lstm_forward(gates_at(kept, row, mine.first), kept.c.row(row) + mine.first,
                         kept.h.row(row) + units_.first + mine.first, c_before(kept, s, t, length) + mine.first,
                         mine.size());
        }
        collect(kept.h, t, room, context);
    }
    end_window(kept, context);
    context.team.barrier();  // before others take the temporaries
    flow[Lane::hidden] = kept.h;
}

// For t = last, …, 0:  dh_t = dy_t + dgates_{t+1} W, and the cell backwards turns gates_t into dgates_t.
void Lstm::backward_in_time(View<const Real> dy, const LstmKept& kept, const Back& room, Context& context) const {
    const Range mine = context.team.share(units_.size()), columns = context.team.share(width_);
    const ArenaScope own_scope(context.own);
    const View<BFloat16> rounded = of_position(context, gates * units_.size());
    const Factor w = weights(room.work, context);
    context.team.single([&] {
        std::fill_n(room.dh.data, room.dh.size(), Real(0));
        std::fill_n(room.dc.data, room.dc.size(), Real(0));
    });
    const std::size_t length = context.length, u = units_.size();
    for (std::size_t t = length; t-- > 0;) {
        for (std::size_t s = 0; s < context.sequences; ++s) {
            const std::size_t row = s * length + t, first = units_.first + mine.first;
            Real* const dh = room.dh.row(s) + first;
            add(dh, dy.row(row) + first, mine.size());
            lstm_backward(gates_at(kept, row, mine.first), room.dc.row(s) + mine.first, dh,
                          kept.c.row(row) + mine.first, c_before(kept, s, t, length) + mine.first, mine.size());
        }
        context.team.barrier();
        if (t == 0) break;
        const Matrix<const Real> dgates(kept.gates.row(t), context.sequences, gates * u, length * gates * u);
        matmul_nn(Matrix<Real>(room.dh).column_range(columns), context.own_factor(dgates, rounded),
                  w.column_range(columns));
        context.team.barrier();
        context.sum_over_slices(room.dh);
    }
}

// dW_in, db_in, db;  dW = mask / (1 - p) * sum over t of dgates_t^T h_{t-1}
void Lstm::backward_weights(const LstmKept& kept, const Back& room, const Factor& dgates, const Factor& before,
                            const Context& context) const {
    const Matrix<const Real> all(kept.gates);
    const View<Real> dw = store_.gradient(weight_);
    const Range mine = context.team.share(dw.rows());
    const bool dropped = drops(context);
    matmul_tn(Matrix<Real>(dropped ? room.dweights : dw).row_range(mine), dgates.column_range(mine), before, !dropped);
    add_column_sums(store_.gradient(bias_).data + mine.first, all.column_range(mine));
    if (!dropped) return;
    const DropoutSite site = context.site(place_, weight_dropout_);
    for (std::size_t row = mine.first; row < mine.last; ++row) {
        context.mask_row(room.work.weights.row(row), site, whole_row(row), 0, width_);
        multiply(room.dweights.row(row), room.work.weights.row(row), width_);
        add(dw.row(row), room.dweights.row(row), width_);
    }
}

void Lstm::backward(Flow& gradient, Context& context) const {
    const Range rows = context.rows;
    const View<Real> x = context.beginning(this).input;
    Rooms rooms_then = context.again(this);
    const LstmKept kept = keep(rooms_then);
    const View<Real> dx = input_gradient(context);
    const ArenaScope scope(context.shared);
    const Back room = back(context);
    context.for_each_run([&](std::size_t sequence, std::size_t position, Range run) {
        for (std::size_t row = run.first, t = position; row < run.last; ++row, ++t)
            std::copy_n(h_before(kept, t, context.length).row(sequence), width_, room.before.row(row));
    });
    backward_in_time(gradient[Lane::hidden], kept, room, context);
    const Factor dgates = context.shared_factor(kept.gates, room.rounded_gates),
                 x_factor = context.shared_factor(x, room.x),
                 before = context.shared_factor(room.before, room.rounded_before);
    input_.backward_input(dx.rows(rows), dgates.row_range(rows));
    context.team.barrier();
    input_.backward_weights(kept.gates, dgates, x_factor, context);
    backward_weights(kept, room, dgates, before, context);
    context.team.barrier();
    context.sum_over_slices(dx);
    gradient[Lane::hidden] = dx;
}

}  // namespace ulmpi
