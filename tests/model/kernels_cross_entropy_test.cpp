#include "model/kernels/cross_entropy.hpp"

#include "base/slice.hpp"
#include "tests/reference/kernel_test.hpp"

namespace ulmpi::reference {
namespace {

class CrossEntropyKernels : public OnEveryTarget {};
ULMPI_ON_EVERY_TARGET(CrossEntropyKernels);

struct Outcome {
    Reals loss, gradient;  // (rows), (rows, vocabulary) dense
};

/// What `parts` ranks make together of logits (rows, vocabulary), each of a slice whose rows lie `gap` further apart.
Outcome in_slices(const Reals& logits, const std::vector<std::int32_t>& targets, const Reals& scale,
                  std::size_t vocabulary, std::size_t parts, std::size_t gap) {
    const std::size_t rows = targets.size();
    std::vector<Reals> slices(parts);
    Reals maximum(rows, std::numeric_limits<Real>::lowest()), sum(rows), target_logit(rows), part(rows), other(rows);
    for (std::size_t s = 0; s < parts; ++s) {
        const Range columns = even_slice(vocabulary, parts, s);
        const std::size_t stride = columns.size() + gap;
        slices[s].assign(rows * stride, Real{-77});
        for (std::size_t r = 0; r < rows; ++r)
            for (std::size_t j = columns.first; j < columns.last; ++j)
                slices[s][r * stride + j - columns.first] = logits[r * vocabulary + j];
        row_maximum(part.data(), slices[s].data(), rows, columns.size(), stride);
        for (std::size_t r = 0; r < rows; ++r) maximum[r] = std::max(maximum[r], part[r]);
    }
    for (std::size_t s = 0; s < parts; ++s) {
        const Range columns = even_slice(vocabulary, parts, s);
        exp_and_sum(slices[s].data(), part.data(), other.data(), maximum.data(), targets.data(), columns.first, rows,
                    columns.size(), columns.size() + gap);
        for (std::size_t r = 0; r < rows; ++r) {
            sum[r] += part[r];
            target_logit[r] += other[r];
        }
    }
    Outcome outcome{Reals(rows), Reals(rows * vocabulary)};
    for (std::size_t r = 0; r < rows; ++r) outcome.loss[r] = std::log(sum[r]) - target_logit[r];
    for (std::size_t s = 0; s < parts; ++s) {
        const Range columns = even_slice(vocabulary, parts, s);
        const std::size_t stride = columns.size() + gap;
        cross_entropy_gradient(slices[s].data(), sum.data(), scale.data(), targets.data(), columns.first, rows,
                               columns.size(), stride);
        for (std::size_t r = 0; r < rows; ++r) {
            for (std::size_t j = 0; j < columns.size(); ++j)
                outcome.gradient[r * vocabulary + columns.first + j] = slices[s][r * stride + j];
            for (std::size_t j = columns.size(); j < stride; ++j) EXPECT_EQ(slices[s][r * stride + j], -77);
        }
    }
    return outcome;
}

TEST_P(CrossEntropyKernels, SlicesTogetherGiveTheWholeByDefinition) {
    for (std::size_t vocabulary : Sizes{1, 2, 3, 4, 5, 7, 9, 16, 33, 64, 257, 1031}) {
        Reals logits = values(6 * vocabulary, 1);
        for (Real& l : logits) l = 10 * l + 50;  // exp of these overflows float without the maximum
        const auto v = static_cast<std::int32_t>(vocabulary);
        const std::vector<std::int32_t> targets = {0, v - 1, v / 2, -1, v / 3, v - 1};
        const Reals scale = {1, Real(0.5), 2, 1, 0, Real(-0.25)};
        Outcome want{Reals(6), Reals(logits.size())};
        for (std::size_t r = 0; r < 6; ++r) {
            const Real* row = logits.data() + r * vocabulary;
            const Wide top = *std::max_element(row, row + vocabulary);
            Wide sum = 0;
            for (std::size_t j = 0; j < vocabulary; ++j) sum += std::exp(row[j] - top);
            const bool scored = targets[r] >= 0;
            want.loss[r] = static_cast<Real>(std::log(sum) - (scored ? row[targets[r]] - top : Wide{0}));
            for (std::size_t j = 0; j < vocabulary && scored; ++j)
                want.gradient[r * vocabulary + j] = static_cast<Real>(
                    scale[r] * (std::exp(row[j] - top) / sum - (static_cast<std::int32_t>(j) == targets[r] ? 1 : 0)));
        }
        for (std::size_t parts = 1; parts <= 4; ++parts) {  // more parts than columns leaves some empty
            const Outcome got = in_slices(logits, targets, scale, vocabulary, parts, parts - 1);
            expect_close(got.loss, want.loss, "loss", 2);
            expect_close(got.gradient, want.gradient, "gradient", 4);
        }
    }
}

TEST_P(CrossEntropyKernels, GradientMatchesCentralDifferences) {
    if (!is_double) GTEST_SKIP() << "central differences need double";
    Reals logits = values(3 * 11, 2);
    const std::vector<std::int32_t> targets = {4, 10, 0};
    const Reals scale = {1, Real(0.3), 2};
    const Outcome got = in_slices(logits, targets, scale, 11, 2, 0);
    const Reals numeric =
        central_differences(logits, [&] { return dot(in_slices(logits, targets, scale, 11, 2, 0).loss, scale); });
    expect_gradient(got.gradient, numeric, "dlogits");
}

TEST_P(CrossEntropyKernels, AnythingNotFiniteReachesTheLoss) {
    for (std::size_t bad : Sizes{0, 5, 36}) {
        Reals logits = values(37, 3);
        logits[bad] = static_cast<Real>(std::nan(""));
        EXPECT_FALSE(std::isfinite(in_slices(logits, {7}, {1}, 37, 1, 0).loss[0])) << bad;
        logits[bad] = std::numeric_limits<Real>::infinity();
        EXPECT_FALSE(std::isfinite(in_slices(logits, {7}, {1}, 37, 1, 0).loss[0])) << bad;
    }
}

}  // namespace
}  // namespace ulmpi::reference
