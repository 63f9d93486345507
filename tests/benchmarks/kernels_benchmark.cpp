// Speed of each kernel on one thread, at the sizes of a small Transformer: bytes moved or operations done a second, and
// the share of what this machine reaches in a plain copy of as many bytes, or in large products.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <map>
#include <random>
#include <vector>

#include "model/kernels/activation.hpp"
#include "model/kernels/adamw.hpp"
#include "model/kernels/attention.hpp"
#include "model/kernels/blas_choice.hpp"
#include "model/kernels/cross_entropy.hpp"
#include "model/kernels/dropout.hpp"
#include "model/kernels/elementwise.hpp"
#include "model/kernels/factor.hpp"
#include "model/kernels/gemm.hpp"
#include "model/kernels/gemm_bf16.hpp"
#include "model/kernels/norm.hpp"
#include "model/kernels/philox.hpp"
#include "model/kernels/rotary.hpp"

namespace ulmpi {
namespace {

using Reals = std::vector<Real>;
constexpr std::size_t rows = 1024, width = 512, vocabulary = 8192;

Reals values(std::size_t n) {
    Reals x(n);
    normal_fill(x.data(), n, 0, n, 1);
    return x;
}

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

/// Calls of `body` a second: the median over a tenth of a second.
template <typename Body>
double rate_of(Body body) {
    body();
    std::vector<double> times;
    for (const auto begin = Clock::now(); times.size() < 3 || seconds_since(begin) < 0.1;) {
        const auto start = Clock::now();
        body();
        benchmark::ClobberMemory();
        times.push_back(seconds_since(start));
    }
    std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
    return 1 / times[times.size() / 2];
}

/// What this machine's one thread can do, each measured once: operations a second of large products, and bytes a second
/// of a plain copy that moves as many bytes as the kernel, so that both live in the same cache.
double product_limit() {
    static const double limit = 1e9 * measure_gemm_peak(1, 0.5);
    return limit;
}
double copy_limit(std::size_t bytes) {
    static std::map<std::size_t, double> known;
    const auto found = known.find(bytes);
    if (found != known.end()) return found->second;
    const std::vector<std::byte> from(bytes / 2, std::byte{1});
    std::vector<std::byte> to(from.size());
    return known[bytes] =
               static_cast<double>(bytes) * rate_of([&] { std::copy(from.begin(), from.end(), to.begin()); });
}

/// Runs `body` and reports `unit`, of which each run makes `amount`, and its share of what the machine can do.
template <typename Body>
void measure(benchmark::State& state, const char* unit, double amount, double limit, Body body) {
    const auto begin = Clock::now();
    for (auto _ : state) {
        body();
        benchmark::ClobberMemory();
    }
    const double rate = amount * static_cast<double>(state.iterations()) / seconds_since(begin);
    state.counters[unit] = 1e-9 * rate;
    state.counters["of_limit"] = rate / limit;
}

/// For what moves `reals` numbers to or from memory.
template <typename Body>
void measure_bytes(benchmark::State& state, std::size_t reals, Body body) {
    const std::size_t bytes = reals * sizeof(Real);
    measure(state, "GB/s", static_cast<double>(bytes), copy_limit(bytes), body);
}

template <typename Body>
void measure_operations(benchmark::State& state, double operations, Body body) {
    measure(state, "GFLOP/s", operations, product_limit(), body);
}

using Product = void (*)(Matrix<Real>, Matrix<const Real>, Matrix<const Real>, Real, Real);

void gemm(benchmark::State& state, Product product, bool a_columns_first, bool b_columns_first) {
    const auto m = static_cast<std::size_t>(state.range(0)), n = static_cast<std::size_t>(state.range(1));
    const auto k = static_cast<std::size_t>(state.range(2));
    const Reals a = values(m * k), b = values(k * n);
    Reals y(m * n);
    const Matrix<const Real> ma =
        a_columns_first ? Matrix<const Real>(a.data(), k, m) : Matrix<const Real>(a.data(), m, k);
    const Matrix<const Real> mb =
        b_columns_first ? Matrix<const Real>(b.data(), n, k) : Matrix<const Real>(b.data(), k, n);
    const double operations = 2.0 * static_cast<double>(m * n * k);
    measure_operations(state, operations, [&] { product(Matrix<Real>(y.data(), m, n), ma, mb, 1, 0); });
}
BENCHMARK_CAPTURE(gemm, nt, matmul_nt, false, true)->Args({1024, 2048, 512})->Args({64, 256, 64});
BENCHMARK_CAPTURE(gemm, nn, matmul_nn, false, false)->Args({1024, 512, 2048})->Args({64, 64, 256});
BENCHMARK_CAPTURE(gemm, tn, matmul_tn, true, false)->Args({2048, 512, 1024})->Args({256, 64, 64});

/// A matrix of rounded values.
struct Rounded {
    Rounded(std::size_t r, std::size_t c) : bits(r * c), matrix(bits.data(), r, c) {
        round_to_bfloat16(bits.data(), values(r * c).data(), r * c);
    }
    std::vector<BFloat16> bits;
    Matrix<const BFloat16> matrix;
};

double bf16_product_limit() {
    static const double limit = [] {
        constexpr std::size_t n = 2048;
        const Rounded a(n, n), b(n, n);
        Reals y(n * n);
        return 2.0 * n * n * n *
               rate_of([&] { matmul_nn(Matrix<Real>(y.data(), n, n), Factor(a.matrix), Factor(b.matrix)); });
    }();
    return limit;
}

using FactorProduct = void (*)(Matrix<Real>, const Factor&, const Factor&, bool);

void gemm_bf16(benchmark::State& state, FactorProduct product, bool a_columns_first, bool b_columns_first) {
    if (const std::string reason = no_bf16_reason(); !reason.empty()) return state.SkipWithError(reason.c_str());
    const auto m = static_cast<std::size_t>(state.range(0)), n = static_cast<std::size_t>(state.range(1));
    const auto k = static_cast<std::size_t>(state.range(2));
    const Rounded a = a_columns_first ? Rounded(k, m) : Rounded(m, k),
                  b = b_columns_first ? Rounded(n, k) : Rounded(k, n);
    Reals y(m * n);
    measure(state, "GFLOP/s", 2.0 * static_cast<double>(m * n * k), bf16_product_limit(),
            [&] { product(Matrix<Real>(y.data(), m, n), Factor(a.matrix), Factor(b.matrix), false); });
}
BENCHMARK_CAPTURE(gemm_bf16, nt, matmul_nt, false, true)->Args({512, 2048, 512})->Args({512, 3072, 768});
BENCHMARK_CAPTURE(gemm_bf16, nn, matmul_nn, false, false)->Args({512, 512, 2048})->Args({512, 768, 3072});
BENCHMARK_CAPTURE(gemm_bf16, tn, matmul_tn, true, false)->Args({1024, 512, 1024})->Args({1536, 768, 1024});

void round_to_bf16(benchmark::State& state) {
    const Reals x = values(rows * width);
    std::vector<BFloat16> y(x.size());
    measure_bytes(state, x.size() + x.size() / 2, [&] { round_to_bfloat16(y.data(), x.data(), x.size()); });
}
BENCHMARK(round_to_bf16);

void widen_bf16(benchmark::State& state) {
    const Rounded x(rows, width);
    Reals y(rows * width);
    measure_bytes(state, y.size() + y.size() / 2, [&] { widen_bfloat16(y.data(), x.bits.data(), y.size()); });
}
BENCHMARK(widen_bf16);

void layer_norm(benchmark::State& state) {
    const Reals x = values(rows * width), weight = values(width), bias = values(width);
    Reals y(x.size()), mean(rows), rstd(rows);
    measure_bytes(state, 2 * x.size(), [&] {
        layer_norm_forward(y.data(), mean.data(), rstd.data(), x.data(), weight.data(), bias.data(), rows, width,
                           Real(1e-5));
    });
}
BENCHMARK(layer_norm);

void layer_norm_gradient(benchmark::State& state) {
    const Reals x = values(rows * width), weight = values(width), dy = values(rows * width);
    const Reals mean(rows), rstd(rows, Real{1});
    Reals dx(x.size()), dweight(width), dbias(width);
    measure_bytes(state, 4 * x.size(), [&] {
        layer_norm_backward(dx.data(), dweight.data(), dbias.data(), dy.data(), x.data(), mean.data(), rstd.data(),
                            weight.data(), rows, width, true);
    });
}
BENCHMARK(layer_norm_gradient);

void rms_norm(benchmark::State& state) {
    const Reals x = values(rows * width), weight = values(width);
    Reals y(x.size()), rstd(rows);
    measure_bytes(state, 2 * x.size(),
                  [&] { rms_norm_forward(y.data(), rstd.data(), x.data(), weight.data(), rows, width, Real(1e-5)); });
}
BENCHMARK(rms_norm);

void gelu(benchmark::State& state) {
    const Reals x = values(rows * width * 4);
    Reals y(x.size());
    measure_bytes(state, 2 * x.size(), [&] { gelu_forward(y.data(), x.data(), x.size()); });
}
BENCHMARK(gelu);

void gelu_gradient(benchmark::State& state) {
    const Reals x = values(rows * width * 4), dy = values(x.size());
    Reals dx(x.size());
    measure_bytes(state, 3 * x.size(), [&] { gelu_backward(dx.data(), dy.data(), x.data(), x.size()); });
}
BENCHMARK(gelu_gradient);

void swiglu_gradient(benchmark::State& state) {
    const Reals gate = values(rows * width * 4), up = values(gate.size()), dy = values(gate.size());
    Reals dgate(gate.size()), dup(gate.size());
    measure_bytes(state, 5 * gate.size(),
                  [&] { swiglu_backward(dgate.data(), dup.data(), dy.data(), gate.data(), up.data(), gate.size()); });
}
BENCHMARK(swiglu_gradient);

void bias(benchmark::State& state) {
    const Reals b = values(width);
    Reals y = values(rows * width);
    measure_bytes(state, 2 * y.size(), [&] { add_bias(y.data(), b.data(), rows, width); });
}
BENCHMARK(bias);

void column_sums(benchmark::State& state) {
    const Reals x = values(rows * width);
    Reals sums(width);
    measure_bytes(state, x.size(), [&] { add_column_sums(sums.data(), Matrix<const Real>(x.data(), rows, width)); });
}
BENCHMARK(column_sums);

void squares(benchmark::State& state) {
    const Reals x = values(1 << 22);
    measure_bytes(state, x.size(), [&] { benchmark::DoNotOptimize(sum_of_squares(x.data(), x.size())); });
}
BENCHMARK(squares);

void adamw(benchmark::State& state) {
    Reals p = values(1 << 22), g = values(1 << 22), m(p.size()), v(p.size());
    measure_bytes(state, 8 * p.size(), [&] {
        adamw_update(p.data(), g.data(), m.data(), v.data(), p.size(), {.lr = 1e-3, .weight_decay = 0.1});
    });
}
BENCHMARK(adamw);

void normal(benchmark::State& state) {
    Reals x(1 << 16);
    measure_bytes(state, x.size(), [&] { normal_fill(x.data(), 1, 0, x.size(), 1); });
}
BENCHMARK(normal);

void dropout_residual(benchmark::State& state) {
    const Reals x = values(rows * width);
    Reals y(x.size());
    const DropoutSite site{1, 2, Real(0.1)};
    measure_bytes(state, 3 * x.size(), [&] { dropout_add(y.data(), y.data(), x.data(), site, 0, 0, rows, width); });
}
BENCHMARK(dropout_residual);

void cross_entropy(benchmark::State& state) {
    constexpr std::size_t tokens = 256;
    const Reals logits = values(tokens * vocabulary), scale(tokens, Real{1});
    const std::vector<std::int32_t> targets(tokens, 5);
    Reals work(logits.size()), maximum(tokens), sum(tokens), target(tokens);
    measure_bytes(state, 7 * logits.size(), [&] {
        std::copy(logits.begin(), logits.end(), work.begin());
        row_maximum(maximum.data(), work.data(), tokens, vocabulary, vocabulary);
        exp_and_sum(work.data(), sum.data(), target.data(), maximum.data(), targets.data(), 0, tokens, vocabulary,
                    vocabulary);
        cross_entropy_gradient(work.data(), sum.data(), scale.data(), targets.data(), 0, tokens, vocabulary,
                               vocabulary);
    });
}
BENCHMARK(cross_entropy);

/// Operations as they are usually counted: the full square, 4 T^2 d forward and twice that backward.
void attention(benchmark::State& state, bool backward, Real probability) {
    const auto length = static_cast<std::size_t>(state.range(0));
    constexpr std::size_t d = 64, heads = 8, stride = 3 * heads * d, out_stride = heads * d;
    const Reals qkv = values(length * stride), dout = values(length * out_stride);
    Reals out(length * out_stride), dqkv(qkv.size()), log_sum(length * heads), scratch(attention_scratch(length));
    const DropoutSite site{1, 2, probability};
    AttentionCall call{.queries = length,
                       .keys = length,
                       .head_size = d,
                       .stride = stride,
                       .key_stride = stride,
                       .out_stride = out_stride,
                       .gradient_stride = stride,
                       .key_gradient_stride = stride};
    call.scale = Real(0.125);
    call.dropout = probability > 0 ? &site : nullptr;
    const auto forward = [&](std::size_t h) {
        const Real* q = qkv.data() + h * d;
        attention_forward(out.data() + h * d, log_sum.data() + h * length, q, q + heads * d, q + 2 * heads * d, call,
                          scratch.data());
    };
    for (std::size_t h = 0; h < heads; ++h) forward(h);
    const double square = 4.0 * static_cast<double>(length * length * d * heads);
    measure_operations(state, backward ? 2 * square : square, [&] {
        for (std::size_t h = 0; h < heads; ++h) {
            if (!backward) {
                forward(h);
                continue;
            }
            const Real* q = qkv.data() + h * d;
            Real* dq = dqkv.data() + h * d;
            attention_backward(dq, dq + heads * d, dq + 2 * heads * d, dout.data() + h * d, out.data() + h * d,
                               log_sum.data() + h * length, q, q + heads * d, q + 2 * heads * d, call, scratch.data());
        }
    });
}
BENCHMARK_CAPTURE(attention, forward, false, Real{0})->Arg(256)->Arg(1024);
BENCHMARK_CAPTURE(attention, forward_dropout, false, Real(0.1))->Arg(256)->Arg(1024);
BENCHMARK_CAPTURE(attention, backward, true, Real{0})->Arg(256)->Arg(1024);
BENCHMARK_CAPTURE(attention, backward_dropout, true, Real(0.1))->Arg(256)->Arg(1024);

void rotary(benchmark::State& state) {
    const RotaryTable table(rows, 64);
    Reals x = values(rows * width);
    measure_bytes(state, 2 * x.size(), [&] { rotary_forward(x.data(), table, 0, rows, width / 64, width); });
}
BENCHMARK(rotary);

}  // namespace
}  // namespace ulmpi

int main(int argc, char** argv) {
    ulmpi::choose_blas_kernels(argv);
    benchmark::Initialize(&argc, argv);
    benchmark::AddCustomContext("blas", ulmpi::blas_kernels());
    benchmark::RunSpecifiedBenchmarks();
}
