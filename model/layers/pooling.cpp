#include "model/layers/pooling.hpp"

#include <algorithm>
#include <array>

#include "model/kernels/elementwise.hpp"

namespace ulmpi {
namespace {

constexpr std::pair<Pooling, const char*> poolings[] = {{Pooling::concat, "concat"},
                                                        {Pooling::last, "last"},
                                                        {Pooling::max, "max"},
                                                        {Pooling::mean, "mean"},
                                                        {Pooling::first, "first"}};

/// Which parts of a pooled row there are, in this order.
struct Parts {
    explicit Parts(Pooling pooling)
        : last(pooling == Pooling::concat || pooling == Pooling::last),
          first(pooling == Pooling::first),
          max(pooling == Pooling::concat || pooling == Pooling::max),
          mean(pooling == Pooling::concat || pooling == Pooling::mean) {}
    bool last, first, max, mean;
};

/// A sequence of a micro-batch: its real positions [0, length), of which those from chunk.first_pooled on are pooled.
struct Sequence {
    Sequence(const MicroBatch& batch, std::size_t s)
        : chunk(batch.chunk(s)), first_row(s * batch.length), length(static_cast<std::size_t>(batch.lengths[s])) {}
    Chunk chunk;
    std::size_t first_row, length;
};

// The sum over a chunk is taken by itself: a long document's is then a sum of few.
void add_mean(Real* mean, View<const Real> h, const Sequence& sequence, std::size_t column, std::size_t columns) {
    std::array<Real, 64> sum;
    for (std::size_t c = 0; c < columns; c += sum.size()) {
        const std::size_t n = std::min(sum.size(), columns - c);
        sum.fill(0);
        for (std::size_t t = sequence.chunk.first_pooled; t < sequence.length; ++t)
            add(sum.data(), h.row(sequence.first_row + t) + column + c, n);
        if (sequence.chunk.begins())
            std::copy_n(sum.data(), n, mean + c);
        else
            add(mean + c, sum.data(), n);
    }
    if (sequence.chunk.ends(sequence.length))
        scale(mean, Real(1) / static_cast<Real>(sequence.chunk.document_length), columns);
}

void keep_maximum(Real* maximum, std::int32_t* argmax, View<const Real> h, const Sequence& sequence, std::size_t column,
                  std::size_t columns) {
    const auto state = [&](std::size_t t) { return h.row(sequence.first_row + t) + column; };
    if (sequence.chunk.begins()) {
        std::copy_n(state(0), columns, maximum);
        std::fill_n(argmax, columns, 0);
    }
    for (std::size_t t = sequence.chunk.first_pooled; t < sequence.length; ++t)
        for (std::size_t c = 0; c < columns; ++c)
            if (state(t)[c] > maximum[c]) {
                maximum[c] = state(t)[c];
                argmax[c] = static_cast<std::int32_t>(sequence.chunk.first + t);
            }
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

// row = [h_last, max over t of h_t, mean over t of h_t]
void pool(const DocumentPools& pools, View<const Real> h, Pooling pooling, const Context& context) {
    const Parts parts(pooling);
    const std::size_t width = h.columns();
    const Range columns = context.team.share(width);
    for (std::size_t s = 0; s < context.batch.sequences; ++s) {
        const Sequence sequence(context.batch, s);
        const auto state = [&](std::size_t t) { return h.row(sequence.first_row + t) + columns.first; };
        Real* out = pools.pooled.row(sequence.chunk.document) + columns.first;
        if (parts.last) {
            if (sequence.chunk.ends(sequence.length)) std::copy_n(state(sequence.length - 1), columns.size(), out);
            out += width;
        }
        if (parts.first && sequence.chunk.begins()) std::copy_n(state(0), columns.size(), out);
        if (parts.max) {
            keep_maximum(out, pools.argmax.row(sequence.chunk.document) + columns.first, h, sequence, columns.first,
                         columns.size());
            out += width;
        }
        if (parts.mean) add_mean(out, h, sequence, columns.first, columns.size());
    }
}

// dh_last += d[0], dh_argmax += d[1], dh_t += d[2] / length of the document
void pool_backward(View<Real> dh, View<const Real> dpooled, View<const std::int32_t> argmax, Pooling pooling,
                   const Context& context) {
    const Parts parts(pooling);
    const std::size_t width = dh.columns();
    const Range sequences = context.team.share(context.batch.sequences);
    for (std::size_t s = sequences.first; s < sequences.last; ++s) {
        const Sequence sequence(context.batch, s);
        const Chunk& chunk = sequence.chunk;
        const auto gradient = [&](std::size_t t) { return dh.row(sequence.first_row + t); };
        std::fill_n(gradient(0), context.batch.length * width, Real(0));
        const Real* d = dpooled.row(chunk.document);
        if (parts.last) {
            if (chunk.ends(sequence.length)) add(gradient(sequence.length - 1), d, width);
            d += width;
        }
        if (parts.first && chunk.begins()) add(gradient(0), d, width);
        if (parts.max) {
            const std::size_t first = chunk.first + chunk.first_pooled, last = chunk.first + sequence.length;
            for (std::size_t c = 0; c < width; ++c)
                if (const auto token = static_cast<std::size_t>(argmax.row(chunk.document)[c]);
                    first <= token && token < last)
                    gradient(token - chunk.first)[c] += d[c];
            d += width;
        }
        if (parts.mean)
            for (std::size_t t = chunk.first_pooled; t < sequence.length; ++t)
                for (std::size_t c = 0; c < width; ++c)
                    gradient(t)[c] += d[c] / static_cast<Real>(chunk.document_length);
    }
}

}  // namespace ulmpi
