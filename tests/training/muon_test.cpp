#include "training/muon.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "training/optimizer.hpp"

namespace ulmpi {
namespace {

using Rows = std::vector<std::vector<double>>;

double entry(std::size_t i, std::size_t j) {
    return std::sin(static_cast<double>(3 * i + 7 * j * j + 1)) + 0.3 * std::cos(static_cast<double>(i * j));
}

Rows product(const Rows& x, const Rows& y) {
    Rows z(x.size(), std::vector<double>(y[0].size(), 0));
    for (std::size_t i = 0; i < x.size(); ++i)
        for (std::size_t k = 0; k < y.size(); ++k)
            for (std::size_t j = 0; j < y[0].size(); ++j) z[i][j] += x[i][k] * y[k][j];
    return z;
}

Rows transposed(const Rows& x) {
    Rows y(x[0].size(), std::vector<double>(x.size()));
    for (std::size_t i = 0; i < x.size(); ++i)
        for (std::size_t j = 0; j < x[0].size(); ++j) y[j][i] = x[i][j];
    return y;
}

/// As it is published, on one side and without turning: X <- a X + b (X X^T) X + c (X X^T)^2 X.
Rows naive(Rows x) {
    double squares = 0;
    for (const auto& row : x)
        for (double value : row) squares += value * value;
    for (auto& row : x)
        for (double& value : row) value /= std::sqrt(squares) + 1e-7;
    for (int iteration = 0; iteration < 5; ++iteration) {
        const Rows a = product(x, transposed(x)), ax = product(a, x), aax = product(a, ax);
        for (std::size_t i = 0; i < x.size(); ++i)
            for (std::size_t j = 0; j < x[0].size(); ++j)
                x[i][j] = 3.4445 * x[i][j] - 4.7750 * ax[i][j] + 2.0315 * aax[i][j];
    }
    return x;
}

Rows rows_of(std::size_t rows, std::size_t columns) {
    Rows x(rows, std::vector<double>(columns));
    for (std::size_t i = 0; i < rows; ++i)
        for (std::size_t j = 0; j < columns; ++j) x[i][j] = entry(i, j);
    return x;
}

constexpr double tolerance = sizeof(Real) == 8 ? 1e-11 : 2e-4;  // the iterations carry rounding at most 3.4445^5-fold

TEST(MuonTest, OrthogonalisesAsTheNaiveIterations) {
    for (int threads : {1, 2, 3})
        for (const auto& [rows, columns] : std::vector<std::pair<std::size_t, std::size_t>>{
                 {1, 1}, {1, 5}, {5, 1}, {2, 2}, {4, 7}, {7, 4}, {16, 16}, {33, 20}, {20, 33}}) {
            std::vector<Real> g(rows * columns), scratch(orthogonalising_scratch(rows, columns));
            for (std::size_t i = 0; i < g.size(); ++i) g[i] = static_cast<Real>(entry(i / columns, i % columns));
            run_team(threads, [&](const Team& team) { orthogonalise({g.data(), {rows, columns}}, scratch, team); });
            const Rows expected = naive(rows_of(rows, columns));
            for (std::size_t i = 0; i < g.size(); ++i)
                EXPECT_NEAR(g[i], expected[i / columns][i % columns], tolerance)
                    << rows << " x " << columns << ", " << threads << " threads, element " << i;
        }
}

// X X^T of the result has ones on the diagonal, more or less, and little beside it: singular values from 0.7 to 1.2.
TEST(MuonTest, AllDirectionsAreAlikeAfterwards) {
    const std::size_t rows = 12, columns = 40;
    std::vector<Real> g(rows * columns), scratch(orthogonalising_scratch(rows, columns));
    for (std::size_t i = 0; i < g.size(); ++i) g[i] = static_cast<Real>(entry(i / columns, i % columns));
    run_team(1, [&](const Team& team) { orthogonalise({g.data(), {rows, columns}}, scratch, team); });
    double trace = 0;
    for (Real value : g) trace += static_cast<double>(value) * static_cast<double>(value);
    EXPECT_GT(trace / rows, 0.7 * 0.7);
    EXPECT_LT(trace / rows, 1.2 * 1.2);
}

// Two matrices in one, a decay, a rate a group, a gradient scale; what is no matrix of a block is AdamW's.
TEST(MuonTest, UpdatesAsPublished) {
    const AdamwConfig config{.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .weight_decay = 0.1, .muon = true};
    for (int threads : {1, 2}) {
        ParameterStore store, plain;
        for (ParameterStore* s : {&store, &plain}) {
            s->declare({.name = "block",
                        .global = {10, 8},
                        .local = {},
                        .slicing = {},
                        .init = Init::normal(1),
                        .stacked = 2});
            s->declare({.name = "embedding", .global = {6, 4}, .local = {}, .slicing = {}, .init = Init::normal(1)});
            s->allocate(true);
            s->initialize(3);
        }
        AdamwConfig without = config;
        without.muon = false;
        Optimizer optimizer(store, config), adamw(plain, without);
        const Parameter& p = store.parameters()[0];
        Rows w(10, std::vector<double>(8)), m(10, std::vector<double>(8, 0));
        for (std::size_t i = 0; i < 80; ++i) w[i / 8][i % 8] = static_cast<double>(store.value_of(p)[i]);
        for (std::size_t step = 0; step < 4; ++step) {
            for (const Parameter& each : store.parameters())
                for (std::size_t i = each.offset; i < each.offset + each.size(); ++i)
                    store.gradients()[i] = plain.gradients()[i] = static_cast<Real>(entry(i, step));
            for (std::size_t part = 0; part < 2; ++part) {
                Rows u(5, std::vector<double>(8));
                for (std::size_t i = 0; i < 5; ++i)
                    for (std::size_t j = 0; j < 8; ++j) {
                        const std::size_t row = 5 * part + i;
                        const double g = 0.5 * entry(p.offset + row * 8 + j, step);
                        m[row][j] = 0.95 * m[row][j] + 0.05 * g;
                        u[i][j] = 0.95 * m[row][j] + 0.05 * g;
                    }
                u = naive(u);
                for (std::size_t i = 0; i < 5; ++i)
                    for (std::size_t j = 0; j < 8; ++j)
                        w[5 * part + i][j] =
                            (1 - 0.02 * 0.1) * w[5 * part + i][j] - 0.02 * 0.2 * std::sqrt(8.0) * u[i][j];
            }
            run_team(threads, [&](const Team& team) { optimizer.step(store, {{0.02}, 0}, 0.5, team); });
            run_team(threads, [&](const Team& team) { adamw.step(plain, {{0.02}, 0}, 0.5, team); });
            for (Real g : store.gradients()) ASSERT_EQ(g, 0);
        }
        for (std::size_t i = 0; i < 80; ++i) EXPECT_NEAR(store.value_of(p)[i], w[i / 8][i % 8], tolerance);
        const Parameter& embedding = store.parameters()[1];
        for (std::size_t i = 0; i < embedding.size(); ++i)
            EXPECT_EQ(store.value_of(embedding)[i], plain.value_of(plain.parameters()[1])[i]);
    }
}

}  // namespace
}  // namespace ulmpi
