#include "model/layers/lm_head.hpp"

#include <algorithm>
#include <cmath>

#include "model/kernels/cross_entropy.hpp"
#include "model/kernels/elementwise.hpp"
#include "model/kernels/gemm.hpp"
#include "model/layers/embedding.hpp"

namespace ulmpi {

// Long chunks read and write the gradient of the output matrix less often; short ones hold fewer logits.
std::size_t logit_chunk_rows(std::size_t rows, std::size_t ids) {
    const std::size_t fit = (std::size_t{100} << 20) / (ids * sizeof(Real));
    return std::min(rows, std::clamp<std::size_t>(fit / 64 * 64, 128, 1024));
}

namespace {

ParameterId declare_output(ParameterStore& store, const ModelConfig& config, int slice, int slices, const char* name,
                           Shape shape, Init init) {
    Parameter p{.name = name,
                .global = shape,
                .local = {},
                .slicing = {},
                .init = init,
                .group = static_cast<int>(config.layers) + 1,
                .counted = slices > 1 || slice == 0};
    if (slices > 1) p.slicing = {0, {vocabulary_slice(config, slice, slices)}};
    return store.declare(std::move(p));
}

}  // namespace

ParameterId declare_output(ParameterStore& store, const ModelConfig& config, int slice, int slices) {
    return declare_output(store, config, slice, slices, "output.weight", {config.vocabulary, config.width()},
                          Init::normal(0.02));
}

ParameterId declare_output_bias(ParameterStore& store, const ModelConfig& config, int slice, int slices) {
    return declare_output(store, config, slice, slices, "output.bias", {config.vocabulary}, {});
}

LmHead::LmHead(ParameterStore& store, const ModelConfig& config, ParameterId output, std::unique_ptr<Norm> norm,
               int slice, int slices, std::optional<ParameterId> bias)
    : store_(store),
      vocabulary_(config.vocabulary),
      width_(config.width()),
      ids_(vocabulary_slice(config, slice, slices)),
      output_(output),
      bias_(bias),
      norm_(std::move(norm)) {}

LmHead::Room LmHead::room(Rooms& rooms) const {
    const std::size_t chunk = logit_chunk_rows(rooms.all_rows(), ids_.size());
    const auto allocate = [&](Shape shape) { return rooms.shared.allocate(shape); };
    return {Norm::statistics(rooms.shared, rooms.all_rows()),
            allocate({chunk, width_}),
            allocate({chunk, ids_.size()}),
            allocate({chunk}),
            allocate({3, chunk}),
            allocate({chunk}),
            rooms.rounding(rooms.shared, {chunk, width_})};
}

LmHead::LastRows LmHead::last_rows(Rooms& rooms) const {
    return {Norm::statistics(rooms.shared, rooms.all_rows()), rooms.shared.allocate({rooms.sequences, width_})};
}

void LmHead::plan(Rooms& rooms, bool training) const {
    {
        const ArenaScope scope(rooms.shared);
        room(rooms);
        if (norm_ && training) norm_->plan_backward(rooms);
    }
    const ArenaScope scope(rooms.shared);
    last_rows(rooms);
}

// maximum = max over slices,  sums = sums over slices of (sum exp l, l_target, sum l),  l = logit - maximum
void LmHead::softmax(Softmax s, View<Real> logits, const Token* targets, Range mine, double smoothing,
                     Context& context) const {
    row_maximum(s.maximum.data + mine.first, logits.row(mine.first), mine.size(), ids_.size(), ids_.size());
    if (context.slices > 1) context.team.single([&] { context.tensor.all_reduce_max(s.maximum.flat()); });
    for (std::size_t row = mine.first; row < mine.last; ++row) {
        Real sum = 0;
        if (smoothing > 0)
            for (std::size_t j = 0; j < ids_.size(); ++j) sum += logits.row(row)[j] - s.maximum.data[row];
        s.sums.row(2)[row] = sum;
    }
    exp_and_sum(logits.row(mine.first), s.sums.row(0) + mine.first, s.sums.row(1) + mine.first,
                s.maximum.data + mine.first, targets + mine.first, ids_.first, mine.size(), ids_.size(), ids_.size());
    context.sum_over_slices(s.sums.rows({0, smoothing > 0 ? 3u : 2u}));
}

// -(1 - e) log p_target - e / V sum over all tokens v of log p_v
double LmHead::loss_of(const Softmax& s, std::size_t row, double smoothing) const {
    const auto sum = [&](std::size_t which) { return static_cast<double>(s.sums.row(which)[row]); };
    return std::log(sum(0)) - (1 - smoothing) * sum(1) - smoothing / static_cast<double>(vocabulary_) * sum(2);
}

// scale (p - (1 - e) onehot - e / V)
void LmHead::gradient_of(const Softmax& s, View<Real> logits, const Real* scale, const Token* targets, Range mine,
                         double smoothing) const {
    cross_entropy_gradient(logits.row(mine.first), s.sums.row(0) + mine.first, scale + mine.first, targets + mine.first,
                           ids_.first, mine.size(), ids_.size(), ids_.size());
    if (smoothing == 0) return;
    for (std::size_t row = mine.first; row < mine.last; ++row) {
        if (targets[row] < 0) continue;
        const Real share = static_cast<Real>(smoothing) * scale[row], each = share / static_cast<Real>(vocabulary_);
        for (std::size_t j = 0; j < ids_.size(); ++j) logits.row(row)[j] -= each;
        if (const auto target = static_cast<std::size_t>(targets[row]); ids_.contains(target))
            logits.row(row)[target - ids_.first] += share;
    }
}

// Of all workers' rows, each some of the ids, before they are rounded.
void LmHead::add_bias_gradient(View<const Real> dlogits, const Context& context) const {
    if (!context.trains(store_.at(*bias_).group)) return;
    const Range ids = context.team.share(ids_.size());
    context.team.barrier();
    add_column_sums(store_.gradient(*bias_).data + ids.first, Matrix<const Real>(dlogits).column_range(ids));
    context.team.barrier();
}

// By chunks of rows:  h = norm(x),  logits = h E^T + b,  loss = -log softmax(logits)[target],
// dlogits = (softmax - onehot) * scale,  dh = dlogits E,  dE += dlogits^T h,  db += 1^T dlogits.   At the end dx =
// norm's gradient of dh.
void LmHead::forward(View<Real> gradient, View<Real> x, Context& context) const {
    const MicroBatch& batch = context.batch;
    const bool training = context.options.training;
    const double smoothing = training ? context.options.label_smoothing : 0;
    const std::size_t rows = batch.rows();
    const Factor output = store_.factor(output_);
    const ArenaScope scope(context.shared);
    const Room all = room(context);
    const std::size_t chunk = all.h.rows();

    for (std::size_t first = 0; first < rows; first += chunk) {
        const std::size_t count = std::min(chunk, rows - first);
        const Range mine = context.team.share(count), global{first + mine.first, first + mine.last};
        const Token* targets = batch.targets.data() + first;
        const View<Real> h = all.h.rows({0, count}), logits = all.logits.rows({0, count});
        const Softmax s{{all.maximum.data, {count}}, {all.sums.data, {3, count}}};
        Real* scale = all.scale.data;
        if (norm_)
            norm_->forward(h.rows(mine), all.statistics, x, global);
        else
            std::copy_n(x.row(global.first), mine.size() * width_, h.row(mine.first));
        const View<BFloat16> rounded{all.rounded.data, {count, width_}};
        const Factor h_factor = context.shared_factor(h, rounded, mine);
        matmul_nt(logits.rows(mine), h_factor.row_range(mine), output);
        if (bias_) add_bias(logits.row(mine.first), store_.value(*bias_).data, mine.size(), ids_.size());
        softmax(s, logits, targets, mine, smoothing, context);
        for (std::size_t row = mine.first; row < mine.last; ++row) {
            const bool counts = targets[row] >= 0;
            if (counts) context.loss += loss_of(s, row, smoothing);
            scale[row] = counts ? static_cast<Real>(context.options.loss_scale) : Real(0);
        }
        if (training) {
            gradient_of(s, logits, scale, targets, mine, smoothing);
            if (bias_) add_bias_gradient(logits, context);
            const Factor dlogits = context.factor_in_place(logits, mine);
            matmul_nn(gradient.rows(global), dlogits.row_range(mine), output);
            if (context.trains(store_.at(output_).group)) {
                context.team.barrier();
                const Range ids = context.team.share(ids_.size());
                matmul_tn(Matrix<Real>(store_.gradient(output_)).row_range(ids), dlogits.column_range(ids), h_factor,
                          true);
            }
        }
        context.team.barrier();
    }
    if (!training) return;
    context.sum_over_slices(gradient);
    context.team.barrier();  // the chunks were dealt otherwise than the rows of the micro-batch
    if (norm_) norm_->backward(gradient, gradient, all.statistics, x, false, context);
    context.team.barrier();
}

// Logits of the last real position: h E^T + b, each slice its columns, zeros elsewhere, summed.
void LmHead::predict(View<Real> scores, View<Real> x, Context& context) const {
    const MicroBatch& batch = context.batch;
    const ArenaScope scope(context.shared);
    const auto [statistics, h] = last_rows(context);
    context.team.single([&] {
        for (std::size_t s = 0; s < batch.sequences; ++s) {
            const std::size_t row = s * batch.length + static_cast<std::size_t>(batch.lengths[s]) - 1;
            const View<Real> out = h.rows({s, s + 1});
            if (norm_)
                norm_->forward(out, statistics, x, {row, row + 1});
            else
                std::copy_n(x.row(row), width_, out.data);
        }
        std::fill_n(scores.data, scores.size(), Real(0));
        const Matrix<Real> mine = Matrix<Real>(scores).column_range(ids_);
        matmul_nt(mine, h, store_.value(output_));
        for (std::size_t s = 0; bias_ && s < batch.sequences; ++s)
            add(mine.row(s), store_.value(*bias_).data, ids_.size());
    });
    context.sum_over_slices(scores);
}

}  // namespace ulmpi
