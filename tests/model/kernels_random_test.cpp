#include "model/kernels/dropout.hpp"
#include "model/kernels/philox.hpp"
#include "tests/reference/kernel_test.hpp"

namespace ulmpi::reference {
namespace {

TEST(Philox, KnownAnswersOfRandom123) {
    using Words = std::array<std::uint32_t, 4>;
    EXPECT_EQ(philox4x32({0, 0, 0, 0}, 0), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
    EXPECT_EQ(philox4x32({~0U, ~0U, ~0U, ~0U}, ~std::uint64_t{0}),
              (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
    EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0x299f31d0a4093822),
              (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(NormalFill, ElementsDependOnKeyAndIndexOnly) {
    const std::size_t n = 1001;
    Reals whole(n), part(n);
    normal_fill(whole.data(), 42, 0, n, Real(0.02));
    for (std::size_t first : Sizes{0, 1, 2, 7, 500, 999, 1000, 1001})
        for (std::size_t count : Sizes{0, 1, 2, 3, 501}) {
            count = std::min(count, n - first);
            Reals slice(count + 1, Real{9});
            normal_fill(slice.data(), 42, first, count, Real(0.02));
            EXPECT_TRUE(std::equal(slice.begin(), slice.end() - 1, whole.begin() + static_cast<std::ptrdiff_t>(first)));
            EXPECT_EQ(slice.back(), 9) << "written past the end";
        }
    normal_fill(part.data(), 43, 0, n, Real(0.02));
    EXPECT_NE(part, whole);
    normal_fill(part.data(), 42, std::uint64_t{1} << 33, n, Real(0.02));
    EXPECT_NE(part, whole) << "indices past 2^32 pairs are others";
}

TEST(NormalFill, MomentsAreThoseOfTheNormalDistribution) {
    const std::size_t n = 200000;
    Reals x(n);
    normal_fill(x.data(), 7, 3, n, Real{2});
    double m1 = 0, m2 = 0, m4 = 0, neighbours = 0;
    for (std::size_t i = 0; i < n; ++i) {
        const double z = static_cast<double>(x[i]) / 2;
        m1 += z / n;
        m2 += z * z / n;
        m4 += z * z * z * z / n;
        if (i) neighbours += z * static_cast<double>(x[i - 1]) / 2 / n;
    }
    EXPECT_NEAR(m1, 0, 0.012);  // five standard errors each
    EXPECT_NEAR(m2, 1, 0.016);
    EXPECT_NEAR(m4, 3, 0.11);
    EXPECT_NEAR(neighbours, 0, 0.012);
}

class DropoutKernels : public OnEveryTarget {};
ULMPI_ON_EVERY_TARGET(DropoutKernels);

/// The factor of one element from the header's own words.
Real factor_of(const DropoutSite& site, std::uint32_t sequence, std::uint32_t position, std::uint32_t column) {
    const auto words = philox4x32({column / 8, position, sequence, site.site}, site.key);
    const std::uint32_t number = words[column % 8 / 2] >> (column % 2 * 16) & 0xFFFF;
    const double threshold = std::nearbyint(65536.0 * static_cast<double>(site.probability));
    return number < threshold ? Real{0} : static_cast<Real>(1 / (1 - threshold / 65536));
}

TEST_P(DropoutKernels, MatchesItsDefinition) {
    const DropoutSite site{0x123456789abcdef0, 77, Real(0.1)};
    for (std::size_t width : Sizes{1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 63, 64, 65, 127, 128, 129, 259, 768}) {
        const std::size_t rows = 3;
        const Reals x = values(rows * width, 1), residual = values(rows * width, 2);
        Reals want(x.size()), sum(x.size()), y(x.size());
        for (std::size_t r = 0; r < rows; ++r)
            for (std::size_t j = 0; j < width; ++j) {
                const Real factor =
                    factor_of(site, 9, static_cast<std::uint32_t>(40 + r), static_cast<std::uint32_t>(j));
                want[r * width + j] = x[r * width + j] * factor;
            }
        dropout(y.data(), x.data(), site, 9, 40, rows, width);
        EXPECT_EQ(y, want) << width;
        for (std::size_t i = 0; i < x.size(); ++i) sum[i] = residual[i] + want[i];
        Reals added(x.size());
        dropout_add(added.data(), residual.data(), x.data(), site, 9, 40, rows, width);
        expect_close(added, sum, "dropout_add");
        Reals in_place = x, onto = residual;
        dropout(in_place.data(), in_place.data(), site, 9, 40, rows, width);
        EXPECT_EQ(in_place, want);
        dropout_add(onto.data(), onto.data(), x.data(), site, 9, 40, rows, width);
        EXPECT_EQ(onto, added);
    }
}

TEST_P(DropoutKernels, TheSplitOfTheRowsDoesNotMatter) {
    const DropoutSite site{5, 3, Real(0.3)};
    const std::size_t rows = 11, width = 37;
    const Reals ones(rows * width, Real{1});
    Reals whole(ones.size()), parts(ones.size());
    dropout(whole.data(), ones.data(), site, 2, 0, rows, width);
    for (std::size_t cut = 0; cut <= rows; ++cut) {
        dropout(parts.data(), ones.data(), site, 2, 0, cut, width);
        dropout(parts.data() + cut * width, ones.data(), site, 2, static_cast<std::uint32_t>(cut), rows - cut, width);
        EXPECT_EQ(parts, whole) << cut;
    }
    Reals factors(width);
    dropout_factors(factors.data(), site, 2, 4, 0, width);
    EXPECT_TRUE(std::equal(factors.begin(), factors.end(), whole.begin() + 4 * width));
    dropout_factors(factors.data(), site, 2, 4, 2, width - 16);
    EXPECT_TRUE(std::equal(factors.begin(), factors.begin() + width - 16, whole.begin() + 4 * width + 16));
}

TEST_P(DropoutKernels, MeanAndVarianceAreRight) {
    const std::size_t rows = 400, width = 1000;
    const double n = rows * width;
    const Reals ones(rows * width, Real{1});
    for (double p : {0.0, 0.1, 0.5, 0.9}) {
        Reals y(ones.size());
        dropout(y.data(), ones.data(), {11, 1, static_cast<Real>(p)}, 0, 0, rows, width);
        double mean = 0, square = 0;
        for (Real v : y) {
            mean += static_cast<double>(v) / n;
            square += static_cast<double>(v * v) / n;
        }
        const double error = 5 * std::sqrt(p / (1 - p) / n);
        EXPECT_NEAR(mean, 1, error + 1e-6) << p;
        EXPECT_NEAR(square - mean * mean, p / (1 - p), 3 * error / (1 - p) + 1e-4) << p;
    }
}

TEST_P(DropoutKernels, EveryPartOfTheNameCounts) {
    const Reals ones(64, Real{1});
    const auto mask = [&](const DropoutSite& site, std::uint32_t sequence, std::uint32_t position) {
        Reals y(64);
        dropout(y.data(), ones.data(), site, sequence, position, 1, 64);
        return y;
    };
    const Reals base = mask({1, 2, Real(0.5)}, 3, 4);
    EXPECT_EQ(mask({1, 2, Real(0.5)}, 3, 4), base);
    EXPECT_NE(mask({9, 2, Real(0.5)}, 3, 4), base);
    EXPECT_NE(mask({1 + (std::uint64_t{1} << 32), 2, Real(0.5)}, 3, 4), base);
    EXPECT_NE(mask({1, 9, Real(0.5)}, 3, 4), base);
    EXPECT_NE(mask({1, 2, Real(0.5)}, 9, 4), base);
    EXPECT_NE(mask({1, 2, Real(0.5)}, 3, 9), base);
}

}  // namespace
}  // namespace ulmpi::reference
