#include "model/kernels/dropout.hpp"

#include <array>
#include <cassert>
#include <cmath>
#include <cstring>

#include "model/kernels/philox.hpp"
#include "model/kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/kernels/dropout.cpp"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#include "model/kernels/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace ulmpi::HWY_NAMESPACE {

using Words = hn::ScalableTag<std::uint32_t>;
/// Philox calls made side by side; their 16-bit numbers serve as many columns times 8.
constexpr std::size_t most_calls = hn::MaxLanes(Words());

#if HWY_TARGET == HWY_SCALAR  // has no 64-bit products in its vectors
HWY_INLINE void random_groups(std::uint32_t* words, const std::array<std::uint32_t, 4>& counter, std::uint64_t key) {
    const auto random = philox4x32(counter, key);
    for (std::size_t j = 0; j < 4; ++j) words[j] = random[j];
}
#else
struct Product {
    hn::Vec<Words> high, low;
};

HWY_INLINE Product wide_product(hn::Vec<Words> a, hn::Vec<Words> b) {
    const Words d;
    const hn::RepartitionToWide<Words> wide;
    const auto even = hn::MulEven(a, b);
    const auto odd = hn::MulEven(hn::BitCast(d, hn::ShiftRight<32>(hn::BitCast(wide, a))), b);
    return {hn::OddEven(hn::BitCast(d, odd), hn::BitCast(d, hn::ShiftRight<32>(even))),
            hn::OddEven(hn::BitCast(d, hn::ShiftLeft<32>(odd)), hn::BitCast(d, even))};
}

/// Philox at counter, counter + {1, 0, 0, 0}, ...: four words of each call after the other.
HWY_INLINE void random_groups(std::uint32_t* words, const std::array<std::uint32_t, 4>& counter, std::uint64_t key) {
    const Words d;
    auto x0 = hn::Iota(d, counter[0]), x1 = hn::Set(d, counter[1]);
    auto x2 = hn::Set(d, counter[2]), x3 = hn::Set(d, counter[3]);
    auto k0 = hn::Set(d, static_cast<std::uint32_t>(key)), k1 = hn::Set(d, static_cast<std::uint32_t>(key >> 32));
    const auto step0 = hn::Set(d, philox::key_step[0]), step1 = hn::Set(d, philox::key_step[1]);
    const auto m0 = hn::Set(d, philox::multiplier[0]), m1 = hn::Set(d, philox::multiplier[1]);
    for (int round = 0; round < philox::rounds; ++round) {
        const Product a = wide_product(x0, m0), b = wide_product(x2, m1);
        x0 = hn::Xor(hn::Xor(b.high, x1), k0);
        x2 = hn::Xor(hn::Xor(a.high, x3), k1);
        x1 = b.low;
        x3 = a.low;
        k0 = hn::Add(k0, step0);
        k1 = hn::Add(k1, step1);
    }
    hn::StoreInterleaved4(x0, x1, x2, x3, d, words);
}
#endif

/// As many 16-bit numbers as a vector of Real has lanes, widened to its width.
template <typename D>
HWY_INLINE hn::Vec<D> load_numbers(D d, const std::uint16_t* numbers) {
    const hn::Rebind<std::uint32_t, D> words;
    const auto widened = hn::PromoteTo(words, hn::LoadU(hn::Rebind<std::uint16_t, D>(), numbers));
    if constexpr (sizeof(hn::TFromD<D>) == 8)
        return hn::PromoteTo(d, widened);
    else
        return widened;
}

/// What a site's probability means in 16-bit numbers: dropped below `threshold`, else multiplied by `factor`.
struct Rule {
    std::uint32_t threshold;
    Real factor;
    explicit Rule(const DropoutSite& site) {
        assert(site.probability >= 0 && site.probability < 1);
        const double t = std::fmin(std::nearbyint(65536.0 * static_cast<double>(site.probability)), 65535.0);
        threshold = static_cast<std::uint32_t>(t);
        factor = static_cast<Real>(1 / (1 - t / 65536));
    }
};

/// Calls use(first column, count, factors) for the n columns that start at column 8 counter[0], 8 calls' worth at a
/// time.
template <typename Use>
HWY_INLINE void for_each_factor(const Rule& rule, std::array<std::uint32_t, 4> counter, std::uint64_t key,
                                std::size_t n, Use use) {
    HWY_ALIGN std::uint32_t words[4 * most_calls];
    HWY_ALIGN std::uint16_t numbers[8 * most_calls];
    const std::size_t calls = hn::Lanes(Words());
    const Tag d;
    const std::size_t lanes = hn::Lanes(d);
    const hn::RebindToUnsigned<Tag> bits;
    const auto threshold = hn::Set(bits, rule.threshold);
    const Vector factor = hn::Set(d, rule.factor);
    for (std::size_t j = 0; j < n; j += 8 * calls, counter[0] += static_cast<std::uint32_t>(calls)) {
        random_groups(words, counter, key);
        std::memcpy(numbers, words, sizeof words);  // low half first, as on every little-endian machine
        const std::size_t end = HWY_MIN(n - j, 8 * calls);
        for (std::size_t c = 0; c < end; c += lanes) {
            const auto random = load_numbers(bits, numbers + c);
            const auto dropped = hn::RebindMask(d, hn::Lt(random, threshold));
            use(j + c, HWY_MIN(lanes, end - c), hn::IfThenZeroElse(dropped, factor));
        }
    }
}

void dropout(Real* y, const Real* x, const DropoutSite& site, std::uint32_t sequence, std::uint32_t first_position,
             std::size_t rows, std::size_t width) {
    const Tag d;
    const std::size_t lanes = hn::Lanes(d);
    const Rule rule(site);
    for (std::size_t r = 0; r < rows; ++r, x += width, y += width) {
        const std::uint32_t position = first_position + static_cast<std::uint32_t>(r);
        for_each_factor(rule, {0, position, sequence, site.site}, site.key, width,
                        [=](std::size_t j, std::size_t count, Vector factor) HWY_ATTR {
                            if (count == lanes)
                                hn::StoreU(hn::Mul(hn::LoadU(d, x + j), factor), d, y + j);
                            else
                                store_part(hn::Mul(load_part(d, x + j, count), factor), d, y + j, count);
                        });
    }
}

void dropout_add(Real* y, const Real* residual, const Real* x, const DropoutSite& site, std::uint32_t sequence,
                 std::uint32_t first_position, std::size_t rows, std::size_t width) {
    const Tag d;
    const std::size_t lanes = hn::Lanes(d);
    const Rule rule(site);
    for (std::size_t r = 0; r < rows; ++r, x += width, y += width, residual += width) {
        const std::uint32_t position = first_position + static_cast<std::uint32_t>(r);
        for_each_factor(
            rule, {0, position, sequence, site.site}, site.key, width,
            [=](std::size_t j, std::size_t count, Vector factor) HWY_ATTR {
                if (count == lanes)
                    hn::StoreU(hn::MulAdd(hn::LoadU(d, x + j), factor, hn::LoadU(d, residual + j)), d, y + j);
                else
                    store_part(hn::MulAdd(load_part(d, x + j, count), factor, load_part(d, residual + j, count)), d,
                               y + j, count);
            });
    }
}

void dropout_factors(Real* factors, const DropoutSite& site, std::uint32_t sequence, std::uint32_t position,
                     std::uint32_t first_group, std::size_t n) {
    const Tag d;
    const std::size_t lanes = hn::Lanes(d);
    for_each_factor(Rule(site), {first_group, position, sequence, site.site}, site.key, n,
                    [=](std::size_t j, std::size_t count, Vector factor) HWY_ATTR {
                        if (count == lanes)
                            hn::StoreU(factor, d, factors + j);
                        else
                            store_part(factor, d, factors + j, count);
                    });
}

}  // namespace ulmpi::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ulmpi {

HWY_EXPORT(dropout);
HWY_EXPORT(dropout_add);
HWY_EXPORT(dropout_factors);

void dropout(Real* y, const Real* x, const DropoutSite& site, std::uint32_t sequence, std::uint32_t first_position,
             std::size_t rows, std::size_t width) {
    HWY_DYNAMIC_DISPATCH(dropout)(y, x, site, sequence, first_position, rows, width);
}
void dropout_add(Real* y, const Real* residual, const Real* x, const DropoutSite& site, std::uint32_t sequence,
                 std::uint32_t first_position, std::size_t rows, std::size_t width) {
    HWY_DYNAMIC_DISPATCH(dropout_add)(y, residual, x, site, sequence, first_position, rows, width);
}
void dropout_factors(Real* factors, const DropoutSite& site, std::uint32_t sequence, std::uint32_t position,
                     std::uint32_t first_group, std::size_t n) {
    HWY_DYNAMIC_DISPATCH(dropout_factors)(factors, site, sequence, position, first_group, n);
}

}  // namespace ulmpi
#endif
