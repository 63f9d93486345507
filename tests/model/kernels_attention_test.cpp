#include "model/kernels/attention.hpp"

#include "model/kernels/rotary.hpp"
#include "tests/reference/kernel_test.hpp"

namespace ulmpi::reference {
namespace {

class AttentionKernels : public OnEveryTarget {};
ULMPI_ON_EVERY_TARGET(AttentionKernels);

/// (rows, stride) with the dense rows of x at column `at`, `fill` elsewhere; and back.
Reals spread(const Reals& x, std::size_t rows, std::size_t width, std::size_t stride, std::size_t at, Real fill = 0) {
    Reals y(rows * stride, fill);
    for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t c = 0; c < width; ++c) y[r * stride + at + c] = x[r * width + c];
    return y;
}
Reals gather(const Reals& x, std::size_t rows, std::size_t width, std::size_t stride, std::size_t at) {
    Reals y(rows * width);
    for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t c = 0; c < width; ++c) y[r * width + c] = x[r * stride + at + c];
    return y;
}

/// Self-attention of rows that hold q | k | v.
AttentionCall self_attention(std::size_t length, std::size_t d, std::size_t stride, std::size_t out_stride,
                             std::size_t gradient_stride) {
    return {.queries = length,
            .keys = length,
            .head_size = d,
            .stride = stride,
            .key_stride = stride,
            .out_stride = out_stride,
            .gradient_stride = gradient_stride,
            .key_gradient_stride = gradient_stride};
}

const Real nan_beside = static_cast<Real>(std::nan(""));

/// k | v, or their gradients, beside each other; what lies beside them is never read.
Reals side_by_side(const Reals& k, const Reals& v, std::size_t keys, std::size_t d, std::size_t stride) {
    Reals kv(keys * stride, nan_beside);
    for (std::size_t t = 0; t < keys; ++t)
        for (std::size_t c = 0; c < d; ++c) {
            kv[t * stride + c] = k[t * d + c];
            kv[t * stride + d + c] = v[t * d + c];
        }
    return kv;
}

/// `sees`: of each query; empty: causal.
void compare(std::size_t queries, std::size_t keys, std::size_t d, const std::vector<KeyRange>& sees,
             Real probability) {
    const std::size_t stride = d + 1, key_stride = 2 * d + 3, out_stride = d + 2;
    const Reals q = values(queries * d, 1), k = values(keys * d, 2), v = values(keys * d, 3);
    const Reals dout = values(queries * d, 4);
    const DropoutSite site{99, 5, probability};
    const AttentionCall call{.queries = queries,
                             .keys = keys,
                             .head_size = d,
                             .stride = stride,
                             .key_stride = key_stride,
                             .out_stride = out_stride,
                             .gradient_stride = stride,
                             .key_gradient_stride = key_stride,
                             .scale = 1 / std::sqrt(static_cast<Real>(d)),
                             .sees = sees.empty() ? nullptr : sees.data(),
                             .dropout = probability > 0 ? &site : nullptr,
                             .sequence = 6,
                             .head = 3};
    Reals factors(queries * (keys + 8), Real{1});
    if (call.dropout)
        for (std::size_t i = 0; i < queries; ++i)  // column 2^23 head + key, as the header says
            dropout_factors(factors.data() + i * keys, site, 6, static_cast<std::uint32_t>(i), 3U << 20, keys);
    const Attention want = attention(
        q, k, v, dout, d, call.scale,
        [&](std::size_t i, std::size_t j) {
            if (sees.empty()) return j <= i;
            return static_cast<std::size_t>(sees[i].first) <= j && j < static_cast<std::size_t>(sees[i].last);
        },
        [&](std::size_t i, std::size_t j) { return factors[i * keys + j]; });

    const Reals qs = spread(q, queries, d, stride, 0, nan_beside), kv = side_by_side(k, v, keys, d, key_stride);
    Reals out(queries * out_stride, Real{8}), log_sum(queries), scratch(attention_scratch(keys) + 1, nan_beside);
    scratch.back() = 3;
    attention_forward(out.data(), log_sum.data(), qs.data(), kv.data(), kv.data() + d, call, scratch.data());
    expect_close(gather(out, queries, d, out_stride, 0), want.out, "out", 4);
    expect_close(log_sum, want.log_sum, "log_sum", 2);
    for (std::size_t t = 0; t < queries; ++t) EXPECT_EQ(out[t * out_stride + d], 8) << "written beside the head";

    const Reals dy = spread(dout, queries, d, out_stride, 0, nan_beside);
    Reals dq(queries * stride, nan_beside), dkv(keys * key_stride, nan_beside);
    attention_backward(dq.data(), dkv.data(), dkv.data() + d, dy.data(), out.data(), log_sum.data(), qs.data(),
                       kv.data(), kv.data() + d, call, scratch.data());
    EXPECT_EQ(scratch.back(), 3) << "written past the scratch";
    expect_close(gather(dq, queries, d, stride, 0), want.dq, "dq", 8);
    expect_close(gather(dkv, keys, d, key_stride, 0), want.dk, "dk", 8);
    expect_close(gather(dkv, keys, d, key_stride, d), want.dv, "dv", 8);
    for (std::size_t t = 0; t < queries; ++t) EXPECT_TRUE(std::isnan(dq[t * stride + d]));
    for (std::size_t t = 0; t < keys; ++t)
        for (std::size_t beside = 2 * d; beside < key_stride; ++beside)
            EXPECT_TRUE(std::isnan(dkv[t * key_stride + beside]));
}

/// Query t sees its document of 13 so far.
std::vector<KeyRange> documents(std::size_t length) {
    std::vector<KeyRange> sees;
    for (std::size_t t = 0; t < length; ++t)
        sees.push_back({static_cast<std::int32_t>(t / 13 * 13), static_cast<std::int32_t>(t) + 1});
    return sees;
}

TEST_P(AttentionKernels, MatchesTheFullSquare) {
    for (std::size_t length : Sizes{1, 2, 5, 13, 14, 63, 64, 65, 128, 200})
        for (Real probability : {Real{0}, Real(0.2)}) {
            compare(length, length, 16, {}, probability);
            compare(length, length, 16, documents(length), probability);
        }
    for (std::size_t d : Sizes{1, 3, 8, 64}) compare(70, 70, d, documents(70), Real(0.1));
}

// Both ways, pads at the end: of another sequence, or of their own.
TEST_P(AttentionKernels, QueriesSeeWhatTheyAreTold) {
    for (std::size_t queries : Sizes{1, 7, 64, 65, 130})
        for (std::size_t keys : Sizes{1, 9, 64, 100})
            for (std::size_t real : {keys, keys / 2 + 1})
                compare(queries, keys, 8, std::vector<KeyRange>(queries, {0, static_cast<std::int32_t>(real)}),
                        Real(queries % 2 ? 0.2 : 0));
}

TEST_P(AttentionKernels, BackwardMatchesCentralDifferences) {
    if (!is_double) GTEST_SKIP() << "central differences need double";
    const std::size_t length = 19, d = 4;
    Reals q = values(length * d, 5), k = values(length * d, 6), v = values(length * d, 7);
    const Reals dout = values(length * d, 8);
    const DropoutSite site{1, 2, Real(0.3)};
    AttentionCall call = self_attention(length, d, d, d, d);
    call.scale = Real(0.5);
    call.dropout = &site;
    Reals out(length * d), log_sum(length), scratch(attention_scratch(length));
    const auto loss = [&] {
        attention_forward(out.data(), log_sum.data(), q.data(), k.data(), v.data(), call, scratch.data());
        return dot(out, dout);
    };
    const Reals nq = central_differences(q, loss), nk = central_differences(k, loss), nv = central_differences(v, loss);
    loss();
    Reals dq(length * d), dk(length * d), dv(length * d);
    attention_backward(dq.data(), dk.data(), dv.data(), dout.data(), out.data(), log_sum.data(), q.data(), k.data(),
                       v.data(), call, scratch.data());
    expect_gradient(dq, nq, "dq");
    expect_gradient(dk, nk, "dk");
    expect_gradient(dv, nv, "dv");
}

TEST_P(AttentionKernels, LargeScoresDoNotOverflow) {
    const std::size_t length = 70, d = 8;
    const Reals q(length * d, Real{100}), k(length * d, Real{100}), v = values(length * d, 9);
    const AttentionCall call = self_attention(length, d, d, d, d);
    Reals out(length * d), log_sum(length), scratch(attention_scratch(length));
    attention_forward(out.data(), log_sum.data(), q.data(), k.data(), v.data(), call, scratch.data());
    for (Real x : out) EXPECT_TRUE(std::isfinite(x));
    for (std::size_t c = 0; c < d; ++c) EXPECT_EQ(out[c], v[c]) << "the first position sees itself alone";
}

TEST_P(AttentionKernels, NoPositionsTouchNothing) {
    attention_forward(nullptr, nullptr, nullptr, nullptr, nullptr, AttentionCall{}, nullptr);
    attention_backward(nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, AttentionCall{},
                       nullptr);
}

TEST_P(AttentionKernels, RotaryTurnsPairsAndBack) {
    for (std::size_t d : Sizes{2, 4, 6, 8, 10, 34, 64, 128}) {
        const std::size_t rows = 5, heads = 3, stride = heads * d + 7, first = 11;
        const RotaryTable table(32, d);
        const Reals x = values(rows * stride, 10);
        Reals y = x;
        rotary_forward(y.data(), table, first, rows, heads, stride);
        Reals want = x;
        for (std::size_t r = 0; r < rows; ++r)
            for (std::size_t h = 0; h < heads; ++h)
                for (std::size_t i = 0; i < d / 2; ++i) {
                    const Wide angle = static_cast<Wide>(first + r) *
                                       std::pow(Wide{10000}, -2 * static_cast<Wide>(i) / static_cast<Wide>(d));
                    const std::size_t a = r * stride + h * d + i, b = a + d / 2;
                    want[a] = static_cast<Real>(x[a] * std::cos(angle) - x[b] * std::sin(angle));
                    want[b] = static_cast<Real>(x[b] * std::cos(angle) + x[a] * std::sin(angle));
                }
        expect_close(y, want, "rotated");
        rotary_backward(y.data(), table, first, rows, heads, stride);
        expect_close(y, x, "turned back");  // a rotation's inverse is its transpose: this is the gradient too
    }
}

}  // namespace
}  // namespace ulmpi::reference
