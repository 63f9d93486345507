#include "model/layers/embedding.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "model/kernels/elementwise.hpp"

namespace ulmpi {
namespace {

// A recurrent model's rows begin with a length of 1: with 400 columns about as AWD-LSTM's numbers between -0.1 and 0.1,
// and as far from the plateau of the words' frequencies with fewer.
double deviation(const ModelConfig& config) {
    return config.recurrent() ? 1 / std::sqrt(static_cast<double>(config.embedding)) : 0.02;
}

// PE[p, 2i] = sin(p / 10000^(2i/d)),  PE[p, 2i+1] = cos(same)   (Vaswani et al. 2017, section 3.5)
std::vector<Real> sinusoid(std::size_t positions, std::size_t width) {
    std::vector<Real> table(positions * width);
    for (std::size_t p = 0; p < positions; ++p)
        for (std::size_t i = 0; i < width; i += 2) {
            const double angle =
                static_cast<double>(p) / std::pow(10000.0, static_cast<double>(i) / static_cast<double>(width));
            table[p * width + i] = static_cast<Real>(std::sin(angle));
            table[p * width + i + 1] = static_cast<Real>(std::cos(angle));
        }
    return table;
}

}  // namespace

Range vocabulary_slice(const ModelConfig& config, int slice, int slices) {
    return even_slice(config.vocabulary, static_cast<std::size_t>(slices), static_cast<std::size_t>(slice));
}

ParameterId declare_token_embedding(ParameterStore& store, const ModelConfig& config, int slice, int slices,
                                    bool counted) {
    Parameter p{.name = "token_embedding",
                .global = {config.vocabulary, config.width()},
                .local = {},
                .slicing = {},
                .init = Init::normal(deviation(config)),
                .group = 0,
                .counted = counted && (slices > 1 || slice == 0)};
    if (slices > 1) p.slicing = {0, {vocabulary_slice(config, slice, slices)}};
    return store.declare(std::move(p));
}

Embedding::Embedding(ParameterStore& store, const ModelConfig& config, ParameterId tokens, int slice, int slices,
                     const EmbeddingPlace& place)
    : store_(store),
      width_(config.width()),
      side_(place.side),
      lane_(place.lane),
      scale_(config.scale_embedding ? std::sqrt(static_cast<Real>(config.hidden)) : Real(1)),
      dropout_(config.embedding_dropout),
      dropout_place_(place.dropout_place),
      drops_rows_(config.recurrent()),
      ids_(vocabulary_slice(config, slice, slices)),
      position_(config.recurrent() ? PositionEmbedding::none : config.position),
      tokens_(tokens) {
    const std::size_t positions = place.context > 0 ? place.context : config.context;
    if (position_ == PositionEmbedding::learned)
        positions_ = store.declare({.name = place.prefix + "position_embedding",
                                    .global = {positions, config.hidden},
                                    .local = {},
                                    .slicing = {},
                                    .init = Init::normal(0.02),
                                    .group = 0,
                                    .counted = slice == 0});
    if (position_ == PositionEmbedding::sinusoidal) sinusoid_ = sinusoid(positions, config.hidden);
}

Real Embedding::row_factor(std::size_t id, const Context& context) const {
    const DropoutSite site = context.site(dropout_place_, drops_rows_ ? dropout_ : 0);
    if (site.probability == 0) return scale_;
    std::array<Real, 8> factors{};
    context.mask_row(factors.data(), site, 0, id / 8 * 8, factors.size());
    return scale_ * factors[id % 8];
}

// x_r = sum over slices of scale E[token_r] + P[position_r]
void Embedding::forward(Flow& flow, Context& context) const {
    const Range mine = context.rows;
    const View<Real> x = keep(context);
    const View<const Real> table = store_.value(tokens_);
    for (std::size_t row = mine.first; row < mine.last; ++row) {
        const auto id = static_cast<std::size_t>(tokens_of(context.batch)[row]);
        if (ids_.contains(id))
            std::copy_n(table.row(id - ids_.first), width_, x.row(row));
        else
            std::fill_n(x.row(row), width_, Real(0));
        if (const Real factor = row_factor(id, context); factor != 1) scale(x.row(row), factor, width_);
    }
    context.sum_over_slices(x);
    const Real* positions = position_ == PositionEmbedding::learned      ? store_.value(positions_).data
                            : position_ == PositionEmbedding::sinusoidal ? sinusoid_.data()
                                                                         : nullptr;
    if (positions != nullptr)
        context.for_each_run([&](std::size_t, std::size_t position, Range rows) {
            add(x.row(rows.first), positions + position * width_, rows.size() * width_);
        });
    const DropoutSite site = context.site(dropout_place_, drops_rows_ ? 0 : dropout_);
    if (site.probability > 0) apply_dropout(x, x, site, context);
    flow[lane_] = x;
}

// dE[token_r] += scale dx_r,  dP[t] += sum over sequences of dx at t. A worker adds to the ids and positions that are
// its own, in the order of the rows, so that no sum depends on timing.
void Embedding::backward(Flow& gradient, Context& context) const {
    const View<Real> dx = gradient[lane_];
    const DropoutSite site = context.site(dropout_place_, drops_rows_ ? 0 : dropout_);
    if (site.probability > 0) apply_dropout(dx, dx, site, context);
    context.team.barrier();
    const View<Real> table = store_.gradient(tokens_);
    const Range held = context.team.share(ids_.size());
    const Range ids{ids_.first + held.first, ids_.first + held.last};
    for (std::size_t row = 0; row < context.all_rows(); ++row) {
        const auto id = static_cast<std::size_t>(tokens_of(context.batch)[row]);
        if (!ids.contains(id)) continue;
        const Real factor = row_factor(id, context);
        if (factor == 1)
            add(table.row(id - ids_.first), dx.row(row), width_);
        else
            for (std::size_t j = 0; j < width_; ++j) table.row(id - ids_.first)[j] += factor * dx.row(row)[j];
    }
    if (position_ == PositionEmbedding::learned) {
        const Range positions = context.team.share(context.length);
        for (std::size_t sequence = 0; sequence < context.sequences; ++sequence)
            add(store_.gradient(positions_).row(positions.first), dx.row(sequence * context.length + positions.first),
                positions.size() * width_);
    }
    context.team.barrier();
}

}  // namespace ulmpi
