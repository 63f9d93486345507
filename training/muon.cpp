#include "training/muon.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "model/kernels/bfloat16.hpp"
#include "model/kernels/elementwise.hpp"
#include "model/kernels/gemm.hpp"

namespace ulmpi {
namespace {

/// f(first in the whole tensor, first in the slice, elements) for each run of a slice that is consecutive in both.
template <typename F>
void for_each_run(const Parameter& p, F f) {
    const std::size_t columns = p.global.extent[1], width = p.local.extent[1];
    std::size_t done = 0;  // rows or columns of the slice
    for (const Range& range : p.slicing.ranges) {
        if (p.slicing.axis == 0)
            f(range.first * columns, done * columns, range.size() * columns);
        else
            for (std::size_t row = 0; row < p.global.extent[0]; ++row)
                f(row * columns + range.first, row * width + done, range.size());
        done += range.size();
    }
}

/// y = x^T, each worker its rows of y.
void transpose(Matrix<Real> y, Matrix<const Real> x, const Team& team) {
    const Range mine = team.share(y.rows);
    for (std::size_t i = mine.first; i < mine.last; ++i)
        for (std::size_t j = 0; j < y.columns; ++j) y.row(i)[j] = x.row(j)[i];
}

}  // namespace

std::size_t orthogonalising_scratch(std::size_t rows, std::size_t columns) {
    const std::size_t short_side = std::min(rows, columns), long_side = std::max(rows, columns);
    return 2 * short_side * long_side + 2 * short_side * short_side;
}

void orthogonalise(View<Real> g, std::span<Real> scratch, const Team& team) {
    const std::size_t n = std::min(g.rows(), g.columns()), m = std::max(g.rows(), g.columns());
    const bool tall = g.rows() > g.columns();  // its transpose has the smaller A
    Matrix<Real> x(scratch.data(), n, m), next(scratch.data() + n * m, n, m);
    const Matrix<Real> a(scratch.data() + 2 * n * m, n, n), b(a.data + n * n, n, n);
    const Range all = team.share(g.size());
    const double norm = std::sqrt(team.sum(sum_of_squares(g.data + all.first, all.size())));
    const Range mine = team.share(n);
    if (tall)
        transpose(x, g, team);
    else
        std::copy_n(g.row(mine.first), mine.size() * m, x.row(mine.first));
    scale(x.row(mine.first), static_cast<Real>(1 / (norm + 1e-7)), mine.size() * m);
    for (int iteration = 0; iteration < Muon::iterations; ++iteration) {
        team.barrier();
        matmul_nt(a.row_range(mine), x.row_range(mine), x);
        team.barrier();
        std::copy_n(a.row(mine.first), mine.size() * n, b.row(mine.first));
        matmul_nn(b.row_range(mine), a.row_range(mine), a, Real(2.0315), Real(-4.7750));
        std::copy_n(x.row(mine.first), mine.size() * m, next.row(mine.first));
        matmul_nn(next.row_range(mine), b.row_range(mine), x, 1, Real(3.4445));
        std::swap(x, next);
    }
    team.barrier();
    if (tall)
        transpose(g, x, team);
    else
        std::copy_n(x.row(mine.first), mine.size() * m, g.row(mine.first));
    team.barrier();
}

MuonRoom Muon::room_for(const ParameterStore& store) {
    MuonRoom room;
    for (const Parameter& p : store.parameters()) {
        if (!takes(p)) continue;
        const std::size_t rows = p.global.extent[0] / static_cast<std::size_t>(p.stacked), columns = p.global.extent[1];
        room.scratch = std::max(room.scratch, orthogonalising_scratch(rows, columns));
        if (!p.slicing.whole()) room.whole = std::max(room.whole, p.global.size());
    }
    return room;
}

Muon::Muon(const ParameterStore& store, const Communicator* tensor) : tensor_(tensor) {
    const MuonRoom room = room_for(store);
    check(room.whole == 0 || tensor != nullptr, "sliced matrices need the ranks that hold the rest of them");
    whole_.resize(room.whole);
    scratch_.resize(room.scratch);
}

// Slices do not overlap: the sum of all, each in its place among zeros, is the whole, to the bit.
void Muon::gather(const Parameter& p, std::span<const Real> slice) {
    std::fill_n(whole_.begin(), p.global.size(), Real(0));
    for_each_run(p, [&](std::size_t first, std::size_t here, std::size_t count) {
        std::copy_n(slice.data() + here, count, whole_.data() + first);
    });
    tensor_->all_reduce_sum(std::span(whole_).first(p.global.size()));
}

void Muon::take_slice(const Parameter& p, std::span<Real> slice) const {
    for_each_run(p, [&](std::size_t first, std::size_t here, std::size_t count) {
        std::copy_n(whole_.data() + first, count, slice.data() + here);
    });
}

void Muon::step(ParameterStore& store, const Parameter& p, std::span<Real> first_moments, const MuonStep& step,
                const Team& team) {
    const std::span<Real> w = store.value_of(p), g = store.gradient_of(p),
                          m = first_moments.subspan(p.offset, p.size());
    const Range mine = team.share(p.size());
    const auto mu = static_cast<Real>(momentum), rest = static_cast<Real>((1 - momentum) * step.gradient_scale);
    for (std::size_t i = mine.first; i < mine.last; ++i) {
        const Real scaled = rest * g[i];
        m[i] = mu * m[i] + scaled;
        g[i] = mu * m[i] + scaled;
    }
    team.barrier();
    const bool sliced = !p.slicing.whole();
    if (sliced) team.single([&] { gather(p, g); });
    const std::size_t rows = p.global.extent[0] / static_cast<std::size_t>(p.stacked), columns = p.global.extent[1];
    Real* const whole = sliced ? whole_.data() : g.data();
    for (std::size_t part = 0; part < static_cast<std::size_t>(p.stacked); ++part)
        orthogonalise({whole + part * rows * columns, {rows, columns}}, scratch_, team);
    if (sliced) team.single([&] { take_slice(p, g); });
    const auto rate = static_cast<Real>(step.lr * 0.2 * std::sqrt(static_cast<double>(std::max(rows, columns))));
    const auto decay = static_cast<Real>(1 - step.lr * step.weight_decay);
    for (std::size_t i = mine.first; i < mine.last; ++i) {
        w[i] = decay * w[i] - rate * g[i];
        g[i] = 0;
    }
    if (!store.rounded().empty())
        round_to_bfloat16(store.rounded().data() + p.offset + mine.first, w.data() + mine.first, mine.size());
}

}  // namespace ulmpi
