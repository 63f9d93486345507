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

void compare(std::size_t length, std::size_t d, bool documents, Real probability) {
    const std::size_t stride = 3 * d + 1, out_stride = d + 2, gradient_stride = 3 * d + 3;
    const Reals q = values(length * d, 1), k = values(length * d, 2), v = values(length * d, 3);
    const Reals dout = values(length * d, 4);
    std::vector<std::int32_t> first_key(length);
    for (std::size_t t = 0; t < length; ++t) first_key[t] = static_cast<std::int32_t>(t / 13 * 13);  // 13 a document
    const DropoutSite site{99, 5, probability};
    AttentionCall call{.length = length,
                       .head_size = d,
                       .stride = stride,
                       .out_stride = out_stride,
                       .gradient_stride = gradient_stride};
    call.scale = 1 / std::sqrt(static_cast<Real>(d));
    call.first_key = documents ? first_key.data() : nullptr;
    call.dropout = probability > 0 ? &site : nullptr;
    call.sequence = 6;
    call.head = 3;

    Reals factors(length * (length + 8), Real{1});
    if (call.dropout)
        for (std::size_t i = 0; i < length; ++i)  // column 2^23 head + key, as the header says
            dropout_factors(factors.data() + i * length, site, 6, static_cast<std::uint32_t>(i), 3U << 20, length);
    const Attention want = attention(
        q, k, v, dout, length, d, call.scale,
        [&](std::size_t i, std::size_t j) {
            return j <= i && (!documents || j >= static_cast<std::size_t>(first_key[i]));
        },
        [&](std::size_t i, std::size_t j) { return factors[i * length + j]; });

    const Real nan = static_cast<Real>(std::nan(""));
    Reals qkv(length * stride, nan);  // what lies beside the head is never read
    for (std::size_t t = 0; t < length; ++t)
        for (std::size_t c = 0; c < d; ++c) {
            qkv[t * stride + c] = q[t * d + c];
            qkv[t * stride + d + c] = k[t * d + c];
            qkv[t * stride + 2 * d + c] = v[t * d + c];
        }
    Reals out(length * out_stride, Real{8}), log_sum(length), scratch(attention_scratch(length, d) + 1, nan);
    scratch.back() = 3;
    attention_forward(out.data(), log_sum.data(), qkv.data(), qkv.data() + d, qkv.data() + 2 * d, call, scratch.data());
    expect_close(gather(out, length, d, out_stride, 0), want.out, "out", 4);
    expect_close(log_sum, want.log_sum, "log_sum", 2);
    for (std::size_t t = 0; t < length; ++t) EXPECT_EQ(out[t * out_stride + d], 8) << "written beside the head";

    const Reals dy = spread(dout, length, d, out_stride, 0, nan);
    Reals dqkv(length * gradient_stride, nan);
    attention_backward(dqkv.data(), dqkv.data() + d, dqkv.data() + 2 * d, dy.data(), out.data(), log_sum.data(),
                       qkv.data(), qkv.data() + d, qkv.data() + 2 * d, call, scratch.data());
    EXPECT_EQ(scratch.back(), 3) << "written past the scratch";
    expect_close(gather(dqkv, length, d, gradient_stride, 0), want.dq, "dq", 8);
    expect_close(gather(dqkv, length, d, gradient_stride, d), want.dk, "dk", 8);
    expect_close(gather(dqkv, length, d, gradient_stride, 2 * d), want.dv, "dv", 8);
    for (std::size_t t = 0; t < length; ++t)
        for (std::size_t beside = 3 * d; beside < gradient_stride; ++beside)
            EXPECT_TRUE(std::isnan(dqkv[t * gradient_stride + beside]));
}

TEST_P(AttentionKernels, MatchesTheFullSquare) {
    for (std::size_t length : Sizes{1, 2, 5, 13, 14, 63, 64, 65, 128, 200})
        for (bool documents : {false, true})
            for (Real probability : {Real{0}, Real(0.2)}) compare(length, 16, documents, probability);
    for (std::size_t d : Sizes{1, 3, 8, 64}) compare(70, d, true, Real(0.1));
}

TEST_P(AttentionKernels, BackwardMatchesCentralDifferences) {
    if (!is_double) GTEST_SKIP() << "central differences need double";
    const std::size_t length = 19, d = 4;
    Reals q = values(length * d, 5), k = values(length * d, 6), v = values(length * d, 7);
    const Reals dout = values(length * d, 8);
    const DropoutSite site{1, 2, Real(0.3)};
    AttentionCall call{
        .length = length, .head_size = d, .stride = d, .out_stride = d, .gradient_stride = d, .scale = Real(0.5)};
    call.dropout = &site;
    Reals out(length * d), log_sum(length), scratch(attention_scratch(length, d));
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
    AttentionCall call{
        .length = length, .head_size = d, .stride = d, .out_stride = d, .gradient_stride = d, .scale = 1};
    Reals out(length * d), log_sum(length), scratch(attention_scratch(length, d));
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
