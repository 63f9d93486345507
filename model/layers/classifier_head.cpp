#include "model/layers/classifier_head.hpp"

#include <algorithm>
#include <cmath>

#include "model/kernels/activation.hpp"
#include "model/kernels/cross_entropy.hpp"
#include "model/kernels/elementwise.hpp"
#include "model/kernels/gemm.hpp"

namespace ulmpi {
namespace {

/// Of a micro-batch that holds all chunks of its documents.
Documents documents_of(const MicroBatch& batch) {
    Documents documents{batch.labels, {}, batch.offsets, batch.soft_labels};
    for (std::size_t s = 0; s < batch.sequences; ++s)
        if (batch.chunk(s).begins()) documents.places.push_back(batch.first_sequence + static_cast<std::uint32_t>(s));
    return documents;
}

double weight_of(const PassOptions& options, std::int32_t label) {
    return options.class_weights.empty() ? 1
                                         : static_cast<double>(options.class_weights[static_cast<std::size_t>(label)]);
}

/// What a document's target differs in from onehot(label).
class Target {
public:
    Target(const Documents& documents, std::size_t i, double smoothing, std::size_t classes)
        : label_(static_cast<std::size_t>(documents.labels[i])),
          given_(documents.soft_labels.empty() ? nullptr : documents.soft_labels.data() + i * classes),
          smoothing_(smoothing),
          classes_(classes) {}
    bool is_hard() const { return given_ == nullptr && smoothing_ == 0; }

    // s_label - sum_c t_c s_c: what the loss gains. Below the maximum, as exp_and_sum has the scores.
    double more_loss(const Real* scores, Real maximum) const {
        double more = static_cast<double>(scores[label_] - maximum);
        for (std::size_t c = 0; c < classes_; ++c) more -= share(c) * static_cast<double>(scores[c] - maximum);
        return more;
    }
    // Its gradient, onehot(label) - t, times `scale`.
    void add_gradient(Real* gradient, double scale) const {
        for (std::size_t c = 0; c < classes_; ++c) gradient[c] -= static_cast<Real>(scale * share(c));
        gradient[label_] += static_cast<Real>(scale);
    }

private:
    double share(std::size_t c) const {
        if (given_ != nullptr) return static_cast<double>(given_[c]);
        return smoothing_ / static_cast<double>(classes_) + (c == label_ ? 1 - smoothing_ : 0);
    }

    std::size_t label_;
    const float* given_;
    double smoothing_;
    std::size_t classes_;
};

}  // namespace

Documents Documents::part(Range range) const {
    const auto of = [&](const auto& all) {
        const std::size_t each = all.size() / size();
        return std::vector(all.begin() + static_cast<std::ptrdiff_t>(range.first * each),
                           all.begin() + static_cast<std::ptrdiff_t>(range.last * each));
    };
    return {of(labels), of(places), of(offsets), of(soft_labels)};
}

ClassifierHead::ClassifierHead(ParameterStore& store, const ModelConfig& model, const ClassifierConfig& config,
                               std::unique_ptr<Norm> norm, bool first_slice)
    : store_(store),
      config_(config),
      width_(model.width()),
      encoder_group_(static_cast<int>(model.layers)),
      first_place_(dropout_place_after(model)),
      encoder_norm_(std::move(norm)),
      norm1_(store, "classifier.norm1", pooled_width(), config.norm, static_cast<Real>(model.norm_eps),
             encoder_group_ + 1, first_slice),
      linear1_(declare_linear("classifier.hidden", config.hidden, pooled_width(), first_slice)),
      norm2_(store, "classifier.norm2", config.hidden, config.norm, static_cast<Real>(model.norm_eps),
             encoder_group_ + 1, first_slice),
      linear2_(declare_linear("classifier.output", config.classes, config.hidden, first_slice)) {
    if (config.wide)
        offset_scale_ = store.declare({.name = "classifier.wide.scale",
                                       .global = {1},
                                       .local = {},
                                       .slicing = {},
                                       .init = Init::one(),
                                       .group = encoder_group_ + 1,
                                       .counted = first_slice});
}

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

ClassifierHead::Activations ClassifierHead::allocate(View<Real> pooled, Arena& arena) const {
    const std::size_t n = pooled.rows();
    return {pooled,
            arena.allocate(norm1_.statistics(n)),
            arena.allocate({n, pooled_width()}),
            arena.allocate({n, config_.hidden}),
            arena.allocate(norm2_.statistics(n)),
            arena.allocate({n, config_.hidden}),
            arena.allocate({n, config_.classes}),
            arena.allocate({4, n})};
}

ClassifierHead::Encoded ClassifierHead::encoded(Rooms& rooms) const {
    return {rooms.shared.allocate({rooms.all_rows(), width_}), Norm::statistics(rooms.shared, rooms.all_rows())};
}

// As many documents as sequences: none has fewer than one.
void ClassifierHead::plan(Rooms& rooms, bool training) const {
    const ArenaScope scope(rooms.shared);
    encoded(rooms);
    allocate(allocate_pools(rooms.sequences, rooms.shared).pooled, rooms.shared);
    if (encoder_norm_ && training) encoder_norm_->plan_backward(rooms);
}

ClassifierHead::Encoded ClassifierHead::encode(View<Real> x, Context& context) const {
    const Encoded states = encoded(context);
    const Range mine = context.rows;
    if (encoder_norm_)
        encoder_norm_->forward(states.h.rows(mine), states.statistics, x, mine);
    else
        std::copy_n(x.row(mine.first), mine.size() * width_, states.h.row(mine.first));
    context.team.barrier();
    return states;
}

void ClassifierHead::drop(View<Real> y, int which, const Documents& documents, const PassOptions& options) const {
    const double probability = which == 0 ? config_.dropout1 : config_.dropout2;
    if (!options.training || probability == 0) return;
    const DropoutSite site{options.random_key, first_place_ + static_cast<std::uint32_t>(which),
                           static_cast<Real>(probability)};
    for (std::size_t i = 0; i < y.rows(); ++i)
        dropout(y.row(i), y.row(i), site, documents.places[i], 0, 1, y.columns());
}

void ClassifierHead::add_offsets(View<Real> scores, std::span<const float> offsets) const {
    if (!offset_scale_) return;
    const Real scale = store_.value(*offset_scale_).data[0];
    for (std::size_t i = 0; i < offsets.size(); ++i) scores.data[i] += scale * static_cast<Real>(offsets[i]);
}

// z1 = drop(norm1(pooled)),  a = relu(z1 W1^T + b1),  z2 = drop(norm2(a)),  scores = z2 W2^T + b2 + scale offsets
void ClassifierHead::blocks_forward(const Activations& act, const Documents& documents,
                                    const PassOptions& options) const {
    const auto linear = [&](View<Real> y, View<const Real> x, Affine layer) {
        matmul_nt(y, x, store_.value(layer.weight));
        add_bias(y.data, store_.value(layer.bias).data, y.rows(), y.columns());
    };
    norm1_.forward(act.z1, act.statistics1, act.pooled, options);
    drop(act.z1, 0, documents, options);
    linear(act.a, act.z1, linear1_);
    relu_forward(act.a.data, act.a.data, act.a.size());
    norm2_.forward(act.z2, act.statistics2, act.a, options);
    drop(act.z2, 1, documents, options);
    linear(act.scores, act.z2, linear2_);
    add_offsets(act.scores, documents.offsets);
}

// dscale += dscores . offsets,  dW2 += dscores^T z2,  dz2 = dscores W2, through dropout, norm and ReLU (a > 0 where its
// input was);  the same once more
void ClassifierHead::blocks_backward(const Activations& act, const Documents& documents,
                                     const PassOptions& options) const {
    const auto linear_backward = [&](View<Real> dx, View<const Real> dy, View<const Real> x, Affine layer) {
        matmul_tn(store_.gradient(layer.weight), dy, x, 1, 1);
        add_column_sums(store_.gradient(layer.bias).data, dy);
        matmul_nn(dx, dy, store_.value(layer.weight));
    };
    if (offset_scale_)
        for (std::size_t i = 0; i < documents.offsets.size(); ++i)
            store_.gradient(*offset_scale_).data[0] += act.scores.data[i] * static_cast<Real>(documents.offsets[i]);
    linear_backward(act.z2, act.scores, act.z2, linear2_);
    drop(act.z2, 1, documents, options);
    norm2_.backward(act.z2, act.z2, act.statistics2, act.a);
    relu_backward(act.z2.data, act.z2.data, act.a.data, act.a.size());
    linear_backward(act.z1, act.z2, act.z1, linear1_);
    drop(act.z1, 0, documents, options);
    norm1_.backward(act.z1, act.z1, act.statistics1, act.pooled);
}

double ClassifierHead::judge_rows(const Activations& act, const Documents& documents,
                                  const PassOptions& options) const {
    const std::size_t n = act.scores.rows(), classes = config_.classes;
    Real *maximum = act.softmax.row(0), *sum = act.softmax.row(1), *target = act.softmax.row(2),
         *scale_of = act.softmax.row(3);
    const std::int32_t* labels = documents.labels.data();
    blocks_forward(act, documents, options);
    row_maximum(maximum, act.scores.data, n, classes, classes);
    const auto target_of = [&](std::size_t i) { return Target(documents, i, options.label_smoothing, classes); };
    double loss = 0;
    for (std::size_t i = 0; i < n; ++i)
        if (const Target soft = target_of(i); !soft.is_hard())
            loss += weight_of(options, labels[i]) * soft.more_loss(act.scores.row(i), maximum[i]);
    exp_and_sum(act.scores.data, sum, target, maximum, labels, 0, n, classes, classes);
    for (std::size_t i = 0; i < n; ++i) {
        const double weight = weight_of(options, labels[i]);
        loss += weight * (std::log(static_cast<double>(sum[i])) - static_cast<double>(target[i]));
        scale_of[i] = static_cast<Real>(weight * options.loss_scale);
    }
    if (!options.training) return loss;
    cross_entropy_gradient(act.scores.data, sum, scale_of, labels, 0, n, classes, classes);
    for (std::size_t i = 0; i < n; ++i)
        if (const Target soft = target_of(i); !soft.is_hard())
            soft.add_gradient(act.scores.row(i), static_cast<double>(scale_of[i]));
    blocks_backward(act, documents, options);
    return loss;
}

// p = softmax(scores)
void ClassifierHead::predict_rows(View<Real> probabilities, const Activations& act, const Documents& documents,
                                  const PassOptions& options) const {
    const std::size_t classes = config_.classes;
    blocks_forward(act, documents, options);
    for (std::size_t i = 0; i < act.scores.rows(); ++i) {
        const Real* logits = act.scores.row(i);
        Real* p = probabilities.row(i);
        const Real maximum = *std::max_element(logits, logits + classes);
        Real sum = 0;
        for (std::size_t c = 0; c < classes; ++c) sum += p[c] = std::exp(logits[c] - maximum);
        scale(p, 1 / sum, classes);
    }
}

void ClassifierHead::encoder_backward(View<Real> gradient, View<const Real> dpooled, View<const std::int32_t> argmax,
                                      const Encoded& encoded, View<Real> x, Context& context) const {
    pool_backward(gradient, dpooled, argmax, config_.pooling, context);
    context.team.barrier();
    if (encoder_norm_) encoder_norm_->backward(gradient, gradient, encoded.statistics, x, false, context);
}

void ClassifierHead::forward(View<Real> gradient, View<Real> x, Context& context) const {
    const ArenaScope scope(context.shared);
    const Encoded encoded = encode(x, context);
    const DocumentPools pools = allocate_pools(context.batch.documents(), context.shared);
    const Activations act = allocate(pools.pooled, context.shared);
    pool(pools, encoded.h, config_.pooling, context);
    context.team.single([&] { context.loss += judge_rows(act, documents_of(context.batch), context.options); });
    if (context.options.training && context.trains(encoder_group_))
        encoder_backward(gradient, act.z1, pools.argmax, encoded, x, context);
    context.team.barrier();
}

void ClassifierHead::predict(View<Real> scores, View<Real> x, Context& context) const {
    const ArenaScope scope(context.shared);
    const Encoded encoded = encode(x, context);
    const DocumentPools pools = allocate_pools(context.batch.documents(), context.shared);
    const Activations act = allocate(pools.pooled, context.shared);
    pool(pools, encoded.h, config_.pooling, context);
    context.team.single([&] { predict_rows(scores, act, documents_of(context.batch), context.options); });
}

void ClassifierHead::pool_chunks(const DocumentPools& pools, View<Real> x, Context& context) const {
    const ArenaScope scope(context.shared);
    pool(pools, encode(x, context).h, config_.pooling, context);
    context.team.barrier();
}

double ClassifierHead::judge(const DocumentPools& pools, const Documents& documents, const PassOptions& options,
                             std::size_t at_a_time, Arena& arena) const {
    double loss = 0;
    for (std::size_t first = 0; first < documents.size(); first += at_a_time) {
        const Range range{first, std::min(documents.size(), first + at_a_time)};
        const ArenaScope scope(arena);
        const Activations act = allocate(pools.pooled.rows(range), arena);
        loss += judge_rows(act, documents.part(range), options);
        if (options.training) std::copy_n(act.z1.data, act.z1.size(), act.pooled.data);
    }
    return loss;
}

void ClassifierHead::predict(View<Real> probabilities, const DocumentPools& pools, const Documents& documents,
                             const PassOptions& options, std::size_t at_a_time, Arena& arena) const {
    for (std::size_t first = 0; first < documents.size(); first += at_a_time) {
        const Range range{first, std::min(documents.size(), first + at_a_time)};
        const ArenaScope scope(arena);
        predict_rows(probabilities.rows(range), allocate(pools.pooled.rows(range), arena), documents.part(range),
                     options);
    }
}

void ClassifierHead::spread_gradient(View<Real> gradient, const DocumentPools& pools, View<Real> x,
                                     Context& context) const {
    const ArenaScope scope(context.shared);
    encoder_backward(gradient, pools.pooled, pools.argmax, encode(x, context), x, context);
    context.team.barrier();
}

}  // namespace ulmpi
