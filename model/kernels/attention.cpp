#include "model/kernels/attention.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "model/kernels/elementwise.hpp"
#include "model/kernels/gemm.hpp"
#include "model/kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/attention.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "model/kernels/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace ulmpi::HWY_NAMESPACE {

/// s <- exp(s - max s), *sum their sum; returns log sum exp s. What the caller makes of the exponentials it divides by
/// *sum.
Real exponentials(Real* s, Real* sum, std::size_t n) {
    const Real top = maximum_of(
        n, [](Vector x) HWY_ATTR { return x; }, s);
    *sum = exponentials_and_sum(s, top, n);
    return top + std::log(*sum);
}

Real dot(const Real* x, const Real* y, std::size_t n) {
    return sum_of(
        n, [](Vector a, Vector b) HWY_ATTR { return hn::Mul(a, b); }, x, y);
}

/// One row of backward: with p = exp(s - log_sum), s <- p mask and dp <- p (dp mask - product). mask may be null.
void score_gradients(Real* s, Real* dp, const Real* mask, Real log_sum, Real product, std::size_t n) {
    const Tag d;
    const Vector l = hn::Set(d, log_sum), c = hn::Set(d, product);
    transform(
        s, n, [=](Vector x) HWY_ATTR { return exponential(d, hn::Sub(x, l)); }, s);
    if (!mask) {
        transform(
            dp, n, [=](Vector p, Vector g) HWY_ATTR { return hn::Mul(p, hn::Sub(g, c)); }, s, dp);
        return;
    }
    transform(
        dp, n, [=](Vector p, Vector g, Vector k) HWY_ATTR { return hn::Mul(p, hn::MulSub(g, k, c)); }, s, dp, mask);
    multiply(s, mask, n);
}

}  // namespace ulmpi::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulmpi {

HWY_EXPORT(exponentials);
HWY_EXPORT(dot);
HWY_EXPORT(score_gradients);

namespace {

constexpr std::size_t block = 64;  // queries at a time
constexpr std::size_t group = 8;   // columns of one Philox call: blocks of keys start at a multiple

/// Queries [first, last) and the keys [keys, end) that they may see between them.
struct Block {
    std::size_t first, last, keys, end;
    std::size_t queries() const { return last - first; }
    std::size_t columns() const { return end - keys; }
};

Range seen_by(const AttentionCall& call, std::size_t query) {
    if (!call.sees) return {0, query + 1};
    const KeyRange keys = call.sees[query];
    assert(keys.first >= 0 && keys.first < keys.last && static_cast<std::size_t>(keys.last) <= call.keys);
    return {static_cast<std::size_t>(keys.first), static_cast<std::size_t>(keys.last)};
}

Block block_from(const AttentionCall& call, std::size_t first) {
    const std::size_t last = std::min(first + block, call.queries);
    return {first, last, seen_by(call, first).first / group * group, seen_by(call, last - 1).last};
}

/// Dropout factors of the keys [from, from + n) for one query, from a multiple of 8.
void mask_row(Real* mask, const AttentionCall& call, std::size_t query, std::size_t from, std::size_t n) {
    assert(call.keys <= (std::size_t{1} << 23) && call.head < (1U << 12));
    dropout_factors(mask, *call.dropout, call.sequence, static_cast<std::uint32_t>(query),
                    call.head << 20 | static_cast<std::uint32_t>(from / group), n);
}

bool drops(const AttentionCall& call) { return call.dropout && call.dropout->probability > 0; }

/// Rows [first, last) of an operand of head_size columns.
template <typename T>
Matrix<T> operand(T* x, const AttentionCall& call, std::size_t stride, std::size_t first, std::size_t last) {
    return {x + first * stride, last - first, call.head_size, stride};
}

}  // namespace

std::size_t attention_scratch(std::size_t keys) { return (2 * block + 1) * (keys + group); }

void attention_forward(Real* out, Real* log_sum, const Real* q, const Real* k, const Real* v, const AttentionCall& call,
                       Real* scratch) {
    Real* mask = scratch + 2 * block * (call.keys + group);
    for (std::size_t begin = 0; begin < call.queries; begin += block) {
        const Block b = block_from(call, begin);
        const Matrix<Real> scores(scratch, b.queries(), b.columns());
        matmul_nt(scores, operand(q, call, call.stride, b.first, b.last),
                  operand(k, call, call.key_stride, b.keys, b.end), call.scale);
        Real sums[block];
        for (std::size_t i = b.first; i < b.last; ++i) {
            Real* row = scores.row(i - b.first);
            const std::size_t from = seen_by(call, i).first - b.keys, to = seen_by(call, i).last - b.keys;
            std::fill(row, row + from, Real{0});
            std::fill(row + to, row + b.columns(), Real{0});
            log_sum[i] = HWY_DYNAMIC_DISPATCH(exponentials)(row + from, &sums[i - b.first], to - from);
            if (drops(call)) {
                mask_row(mask, call, i, b.keys, to);
                multiply(row, mask, to);
            }
        }
        const Matrix<Real> y = operand(out, call, call.out_stride, b.first, b.last);
        matmul_nn(y, scores, operand(v, call, call.key_stride, b.keys, b.end));
        for (std::size_t i = 0; i < y.rows; ++i) scale(y.row(i), 1 / sums[i], y.columns);
    }
}

void attention_backward(Real* dq, Real* dk, Real* dv, const Real* dout, const Real* out, const Real* log_sum,
                        const Real* q, const Real* k, const Real* v, const AttentionCall& call, Real* scratch) {
    Real* mask = scratch + 2 * block * (call.keys + group);
    for (std::size_t i = 0; !call.adds_keys && i < call.keys; ++i) {
        std::fill_n(dk + i * call.key_gradient_stride, call.head_size, Real{0});
        std::fill_n(dv + i * call.key_gradient_stride, call.head_size, Real{0});
    }
    for (std::size_t begin = 0; begin < call.queries; begin += block) {
        const Block b = block_from(call, begin);
        const Matrix<Real> scores(scratch, b.queries(), b.columns());
        const Matrix<Real> dscores(scratch + block * (call.keys + group), b.queries(), b.columns());
        const auto queries = operand(q, call, call.stride, b.first, b.last);
        const auto keys = operand(k, call, call.key_stride, b.keys, b.end);
        const auto values = operand(v, call, call.key_stride, b.keys, b.end);
        const auto dy = operand(dout, call, call.out_stride, b.first, b.last);
        matmul_nt(scores, queries, keys, call.scale);
        matmul_nt(dscores, dy, values);
        for (std::size_t i = b.first; i < b.last; ++i) {
            Real *row = scores.row(i - b.first), *drow = dscores.row(i - b.first);
            const std::size_t from = seen_by(call, i).first - b.keys, to = seen_by(call, i).last - b.keys;
            for (Real* each : {row, drow}) {
                std::fill(each, each + from, Real{0});
                std::fill(each + to, each + b.columns(), Real{0});
            }
            const Real product =
                HWY_DYNAMIC_DISPATCH(dot)(dout + i * call.out_stride, out + i * call.out_stride, call.head_size);
            if (drops(call)) mask_row(mask, call, i, b.keys, to);
            HWY_DYNAMIC_DISPATCH(score_gradients)
            (row + from, drow + from, drops(call) ? mask + from : nullptr, log_sum[i], product, to - from);
        }
        matmul_tn(operand(dv, call, call.key_gradient_stride, b.keys, b.end), scores, dy, 1, 1);
        matmul_tn(operand(dk, call, call.key_gradient_stride, b.keys, b.end), dscores, queries, call.scale, 1);
        matmul_nn(operand(dq, call, call.gradient_stride, b.first, b.last), dscores, keys, call.scale);
    }
}

}  // namespace ulmpi
#endif
