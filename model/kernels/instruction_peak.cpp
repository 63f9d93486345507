#include "model/kernels/instruction_peak.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

#include "base/error.hpp"
#include "model/kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/instruction_peak.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace ulmpi::HWY_NAMESPACE {

// Operations of `rounds` rounds. As many sums as hide the latency of the instruction and fit into the registers; each
// begins otherwise, or the compiler would make one of them.
double fused_multiply_adds(std::size_t rounds, float* sink) {
    namespace hn = hwy::HWY_NAMESPACE;
    const hn::ScalableTag<float> d;
    const auto half = hn::Set(d, 0.5F), one = hn::Set(d, 1.0F);
    const auto begin = [d](float value) HWY_ATTR { return hn::Set(d, value); };
    auto s0 = begin(0), s1 = begin(1), s2 = begin(2), s3 = begin(3), s4 = begin(4), s5 = begin(5), s6 = begin(6),
         s7 = begin(7), s8 = begin(8), s9 = begin(9);
    for (std::size_t round = 0; round < rounds; ++round) {
        s0 = hn::MulAdd(s0, half, one);
        s1 = hn::MulAdd(s1, half, one);
        s2 = hn::MulAdd(s2, half, one);
        s3 = hn::MulAdd(s3, half, one);
        s4 = hn::MulAdd(s4, half, one);
        s5 = hn::MulAdd(s5, half, one);
        s6 = hn::MulAdd(s6, half, one);
        s7 = hn::MulAdd(s7, half, one);
        s8 = hn::MulAdd(s8, half, one);
        s9 = hn::MulAdd(s9, half, one);
    }
    const auto sum = hn::Add(hn::Add(hn::Add(s0, s1), hn::Add(s2, s3)), hn::Add(hn::Add(s4, s5), hn::Add(s6, s7)));
    *sink = hn::GetLane(hn::SumOfLanes(d, hn::Add(sum, hn::Add(s8, s9))));
    return static_cast<double>(rounds * 10 * 2 * hn::Lanes(d));
}

}  // namespace ulmpi::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace ulmpi {
namespace {

HWY_EXPORT(fused_multiply_adds);

double of_floats(std::size_t rounds, float* sink) { return HWY_DYNAMIC_DISPATCH(fused_multiply_adds)(rounds, sink); }

#if defined(__x86_64__)
bool has_amx() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 22 & 1) != 0;  // AMX-BF16
}
bool has_bf16_dot_products() { return __builtin_cpu_supports("avx512bf16") != 0 && !has_amx(); }

__attribute__((target("avx512f,avx512bf16"))) double of_bf16(std::size_t rounds, float* sink) {
    const __m512 one = _mm512_set1_ps(1.0F);
    const __m512bh x = _mm512_cvtne2ps_pbh(one, one);
    __m512 s0 = _mm512_set1_ps(0), s1 = _mm512_set1_ps(1), s2 = _mm512_set1_ps(2), s3 = _mm512_set1_ps(3),
           s4 = _mm512_set1_ps(4), s5 = _mm512_set1_ps(5), s6 = _mm512_set1_ps(6), s7 = _mm512_set1_ps(7),
           s8 = _mm512_set1_ps(8), s9 = _mm512_set1_ps(9);
    for (std::size_t round = 0; round < rounds; ++round) {
        s0 = _mm512_dpbf16_ps(s0, x, x);
        s1 = _mm512_dpbf16_ps(s1, x, x);
        s2 = _mm512_dpbf16_ps(s2, x, x);
        s3 = _mm512_dpbf16_ps(s3, x, x);
        s4 = _mm512_dpbf16_ps(s4, x, x);
        s5 = _mm512_dpbf16_ps(s5, x, x);
        s6 = _mm512_dpbf16_ps(s6, x, x);
        s7 = _mm512_dpbf16_ps(s7, x, x);
        s8 = _mm512_dpbf16_ps(s8, x, x);
        s9 = _mm512_dpbf16_ps(s9, x, x);
    }
    const __m512 sum = _mm512_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)),
                                     _mm512_add_ps(_mm512_add_ps(s4, s5), _mm512_add_ps(s6, s7)));
    *sink = _mm512_reduce_add_ps(_mm512_add_ps(sum, _mm512_add_ps(s8, s9)));
    return static_cast<double>(rounds * 10 * 2 * 32);
}
#else
bool has_bf16_dot_products() { return false; }
double of_bf16(std::size_t, float*) { return 0; }
#endif

}  // namespace

double measure_instruction_peak(Precision precision, int threads, double seconds) {
    check_usage(threads >= 1, "the instruction peak needs at least one thread");
    if (precision == Precision::bf16 && !has_bf16_dot_products()) return 0;
    const auto work = precision == Precision::bf16 ? of_bf16 : of_floats;
    using Clock = std::chrono::steady_clock;
    const auto seconds_since = [](Clock::time_point start) {
        return std::chrono::duration<double>(Clock::now() - start).count();
    };
    constexpr std::size_t rounds = 1 << 20;  // some milliseconds
    std::vector<float> sinks(static_cast<std::size_t>(threads));
    std::vector<double> speeds;
    const auto begin = Clock::now();
    while (speeds.size() < 3 || seconds_since(begin) < seconds) {
        double operations = 0;
        const auto start = Clock::now();
#pragma omp parallel for num_threads(threads) reduction(+ : operations)
        for (std::size_t thread = 0; thread < sinks.size(); ++thread) operations += work(rounds, &sinks[thread]);
        speeds.push_back(operations / seconds_since(start) * 1e-9);
    }
    const auto middle = speeds.begin() + static_cast<std::ptrdiff_t>(speeds.size() / 2);
    std::nth_element(speeds.begin(), middle, speeds.end());
    return *middle;
}

}  // namespace ulmpi
#endif  // HWY_ONCE
