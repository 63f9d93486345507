#include "model/layers/classifier_head.hpp"

#include <algorithm>
#include <cmath>

#include "model/kernels/activation.hpp"
#include "model/kernels/cross_entropy.hpp"
#include "model/kernels/elementwise.hpp"
#include "model/kernels/gemm.hpp"

namespace ulmpi {
namespace {

constexpr std::pair<Pooling, const char*> poolings[] = {{Pooling::concat, "concat"},
                                                        {Pooling::last, "last"},
                                                        {Pooling::max, "max"},
                                                        {Pooling::mean, "mean"},
                                                        {Pooling::first, "first"}};

std::size_t length_of(const MicroBatch& batch, std::size_t sequence) {
    return static_cast<std::size_t>(batch.lengths[sequence]);
}

}  // namespace

Pooling pooling_from(const std::string& name) {
    for (const auto& [pooling, known] : poolings)
        if (name == known) return pooling;
    throw UsageError("--pooling " + name + " is unknown: choose concat, last, max, mean or first");
}

std::string to_string(Pooling pooling) {
    for (const auto& [known, name] : poolings)
        if (known == pooling) return name;
    throw Error("a pooling without a name");
}

ClassifierHead::ClassifierHead(ParameterStore& store, const ModelConfig& model, const ClassifierConfig& config,
                               std::unique_ptr<Norm> norm, bool first_slice)
    : store_(store),
      config_(config),
      width_(model.hidden),
      encoder_group_(static_cast<int>(model.layers)),
      first_place_(dropout_place_after(model)),
      encoder_norm_(std::move(norm)),
      norm1_(store, "classifier.norm1", pooled_width(), config.norm, static_cast<Real>(model.norm_eps),
             encoder_group_ + 1, first_slice),
      linear1_(declare_linear("classifier.hidden", config.hidden, pooled_width(), first_slice)),
      norm2_(store, "classifier.norm2", config.hidden, config.norm, static_cast<Real>(model.norm_eps),
             encoder_group_ + 1, first_slice),
      linear2_(declare_linear("classifier.output", config.classes, config.hidden, first_slice)) {}

ClassifierHead::Affine ClassifierHead::declare_linear(const std::string& name, std::size_t out, std::size_t in,
                                                      bool first_slice) const {
    const auto declare = [&](const char* part, Shape shape, Init init) {
        return store_.declare({.name = name + part,
                               .global = shape,
                               .local = {},
                               .slicing = {},
                               .init = init,
                               .group = encoder_group_ + 1,
                               .counted = first_slice});
    };
    return {declare(".weight", {out, in}, Init::normal(1 / std::sqrt(static_cast<double>(in)))),
            declare(".bias", {out}, {})};
}

ClassifierHead::Activations ClassifierHead::allocate(std::size_t n, Arena& arena) const {
    return {arena.allocate({n, pooled_width()}),  arena.allocate(norm1_.statistics(n)),
            arena.allocate({n, pooled_width()}),  arena.allocate({n, config_.hidden}),
            arena.allocate(norm2_.statistics(n)), arena.allocate({n, config_.hidden}),
            arena.allocate({n, config_.classes})};
}

void ClassifierHead::encode(View<Real> h, View<Real> statistics, View<Real> x, Context& context) const {
    const Range mine = context.rows;
    if (encoder_norm_)
        encoder_norm_->forward(h.rows(mine), statistics, x, mine);
    else
        std::copy_n(x.row(mine.first), mine.size() * width_, h.row(mine.first));
    context.team.barrier();
}

// pooled = [h_last, max over t of h_t, mean over t of h_t] of the real positions, each worker its sequences
void ClassifierHead::pool(View<Real> pooled, View<std::int32_t> argmax, View<const Real> h,
                          const Context& context) const {
    const Range sequences = context.team.share(context.batch.sequences);
    for (std::size_t s = sequences.first; s < sequences.last; ++s) {
        const std::size_t first = s * context.batch.length, length = length_of(context.batch, s);
        Real* out = pooled.row(s);
        const Pooling kind = config_.pooling;
        if (kind == Pooling::concat || kind == Pooling::last) {
            std::copy_n(h.row(first + length - 1), width_, out);
            out += width_;
        }
        if (kind == Pooling::first) std::copy_n(h.row(first), width_, out);
        if (kind == Pooling::concat || kind == Pooling::max) {
            std::copy_n(h.row(first), width_, out);
            std::fill_n(argmax.row(s), width_, 0);
            for (std::size_t t = 1; t < length; ++t)
                for (std::size_t c = 0; c < width_; ++c)
                    if (h.row(first + t)[c] > out[c]) {
                        out[c] = h.row(first + t)[c];
                        argmax.row(s)[c] = static_cast<std::int32_t>(t);
                    }
            out += width_;
        }
        if (kind == Pooling::concat || kind == Pooling::mean) {
            std::fill_n(out, width_, Real(0));
            for (std::size_t t = 0; t < length; ++t) add(out, h.row(first + t), width_);
            scale(out, Real(1) / static_cast<Real>(length), width_);
        }
    }
}

// dh_last += d[0], dh_argmax += d[1], dh_t += d[2] / length; rows of padding get zero
void ClassifierHead::pool_backward(View<Real> dh, View<const Real> dpooled, View<const std::int32_t> argmax,
                                   const Context& context) const {
    const Range sequences = context.team.share(context.batch.sequences);
    for (std::size_t s = sequences.first; s < sequences.last; ++s) {
        const std::size_t first = s * context.batch.length, length = length_of(context.batch, s);
        std::fill_n(dh.row(first), context.batch.length * width_, Real(0));
        const Real* d = dpooled.row(s);
        const Pooling kind = config_.pooling;
        if (kind == Pooling::concat || kind == Pooling::last) {
            add(dh.row(first + length - 1), d, width_);
            d += width_;
        }
        if (kind == Pooling::first) add(dh.row(first), d, width_);
        if (kind == Pooling::concat || kind == Pooling::max) {
            for (std::size_t c = 0; c < width_; ++c)
                dh.row(first + static_cast<std::size_t>(argmax.row(s)[c]))[c] += d[c];
            d += width_;
        }
        if (kind == Pooling::concat || kind == Pooling::mean)
            for (std::size_t t = 0; t < length; ++t)
                for (std::size_t c = 0; c < width_; ++c) dh.row(first + t)[c] += d[c] / static_cast<Real>(length);
    }
}

void ClassifierHead::drop(View<Real> y, int which, const Context& context) const {
    const DropoutSite site = context.site(first_place_ + static_cast<std::uint32_t>(which),
                                          which == 0 ? config_.dropout1 : config_.dropout2);
    if (site.probability == 0) return;
    for (std::size_t s = 0; s < y.rows(); ++s)
        dropout(y.row(s), y.row(s), site, context.batch.first_sequence + static_cast<std::uint32_t>(s), 0, 1,
                y.columns());
}

// z1 = drop(norm1(pooled)),  a = relu(z1 W1^T + b1),  z2 = drop(norm2(a)),  scores = z2 W2^T + b2
void ClassifierHead::blocks_forward(const Activations& act, const Context& context) const {
    const auto linear = [&](View<Real> y, View<const Real> x, Affine layer) {
        matmul_nt(y, x, store_.value(layer.weight));
        add_bias(y.data, store_.value(layer.bias).data, y.rows(), y.columns());
    };
    norm1_.forward(act.z1, act.statistics1, act.pooled, context.options);
    drop(act.z1, 0, context);
    linear(act.a, act.z1, linear1_);
    relu_forward(act.a.data, act.a.data, act.a.size());
    norm2_.forward(act.z2, act.statistics2, act.a, context.options);
    drop(act.z2, 1, context);
    linear(act.scores, act.z2, linear2_);
}

// dW2 += dscores^T z2,  dz2 = dscores W2, through dropout, norm and ReLU (a > 0 where its input was);  the same once
// more
void ClassifierHead::blocks_backward(const Activations& act, const Context& context) const {
    const auto linear_backward = [&](View<Real> dx, View<const Real> dy, View<const Real> x, Affine layer) {
        matmul_tn(store_.gradient(layer.weight), dy, x, 1, 1);
        add_column_sums(store_.gradient(layer.bias).data, dy);
        matmul_nn(dx, dy, store_.value(layer.weight));
    };
    linear_backward(act.z2, act.scores, act.z2, linear2_);
    drop(act.z2, 1, context);
    norm2_.backward(act.z2, act.z2, act.statistics2, act.a);
    relu_backward(act.z2.data, act.z2.data, act.a.data, act.a.size());
    linear_backward(act.z1, act.z2, act.z1, linear1_);
    drop(act.z1, 0, context);
    norm1_.backward(act.z1, act.z1, act.statistics1, act.pooled);
}

void ClassifierHead::forward(View<Real> gradient, View<Real> x, Context& context) const {
    const MicroBatch& batch = context.batch;
    const std::size_t n = batch.sequences;
    const ArenaScope scope(context.shared);
    const View<Real> h = context.shared.allocate(x.shape), statistics = context.shared.allocate({2, batch.rows()});
    const View<std::int32_t> argmax = context.shared.allocate<std::int32_t>({n, width_});
    const Activations act = allocate(n, context.shared);
    const View<Real> softmax = context.shared.allocate({4, n});  // maximum, sum, target, scale
    encode(h, statistics, x, context);
    pool(act.pooled, argmax, h, context);
    context.team.single([&] {
        blocks_forward(act, context);
        Real* sum = softmax.row(1);
        const std::size_t classes = config_.classes;
        row_maximum(softmax.row(0), act.scores.data, n, classes, classes);
        exp_and_sum(act.scores.data, sum, softmax.row(2), softmax.row(0), batch.labels.data(), 0, n, classes, classes);
        for (std::size_t s = 0; s < n; ++s) {
            const auto label = static_cast<std::size_t>(batch.labels[s]);
            const double weight =
                context.options.class_weights.empty() ? 1 : static_cast<double>(context.options.class_weights[label]);
            context.loss += weight * (std::log(static_cast<double>(sum[s])) - static_cast<double>(softmax.row(2)[s]));
            softmax.row(3)[s] = static_cast<Real>(weight * context.options.loss_scale);
        }
        if (!context.options.training) return;
        cross_entropy_gradient(act.scores.data, sum, softmax.row(3), batch.labels.data(), 0, n, classes, classes);
        blocks_backward(act, context);
    });
    if (context.options.training && context.trains(encoder_group_)) {
        pool_backward(gradient, act.z1, argmax, context);
        context.team.barrier();
        if (encoder_norm_) encoder_norm_->backward(gradient, gradient, statistics, x, false, context);
    }
    context.team.barrier();
}

void ClassifierHead::predict(View<Real> scores, View<Real> x, Context& context) const {
    const std::size_t n = context.batch.sequences, classes = config_.classes;
    const ArenaScope scope(context.shared);
    const View<Real> h = context.shared.allocate(x.shape),
                     statistics = context.shared.allocate({2, context.batch.rows()});
    const View<std::int32_t> argmax = context.shared.allocate<std::int32_t>({n, width_});
    const Activations act = allocate(n, context.shared);
    encode(h, statistics, x, context);
    pool(act.pooled, argmax, h, context);
    context.team.single([&] {
        blocks_forward(act, context);
        for (std::size_t s = 0; s < n; ++s) {  // softmax
            const Real* logits = act.scores.row(s);
            const Real maximum = *std::max_element(logits, logits + classes);
            Real sum = 0;
            for (std::size_t c = 0; c < classes; ++c) sum += scores.row(s)[c] = std::exp(logits[c] - maximum);
            scale(scores.row(s), 1 / sum, classes);
        }
    });
}

}  // namespace ulmpi
