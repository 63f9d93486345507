// Training with products of rounded factors against training in full: the same but for the rounding of a factor, 2^-9.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random_key.hpp"
#include "model/kernels/gemm_bf16.hpp"
#include "tests/reference/tiny_model.hpp"

namespace ulmpi::reference {
namespace {

PassOptions training() {
    PassOptions o;
    o.random_key = 7;
    o.loss_scale = 1.0 / 27;
    return o;
}

double relative_distance(std::span<const Real> a, std::span<const Real> b) {
    double distance = 0, size = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        distance += std::pow(static_cast<double>(a[i] - b[i]), 2);
        size += std::pow(static_cast<double>(b[i]), 2);
    }
    return std::sqrt(distance / size);
}

/// Moves every weight by up to 2^-8 of itself, at random: as much as rounding it.
void nudge(ParameterStore& store, std::uint64_t seed) {
    std::uint64_t place = 0;
    for (Real& w : store.values()) {
        const auto draw = static_cast<double>(random_key(seed, place++) >> 11) * 0x1p-53;  // in [0, 1)
        w *= static_cast<Real>(1 + (draw - 0.5) / 128);
    }
}

// The yardstick is the model itself, whose gradients jump where a ReLU or a maximum changes its mind: the rounded ones
// lie about as far from the full ones as the full ones of weights moved by as little.
TEST(Bf16StageTest, LossAndGradientsAreThoseOfFullProducts) {
    if (const std::string reason = no_bf16_reason(); !reason.empty()) GTEST_SKIP() << reason;
    for (const auto& [name, config] : all_configs())
        for (bool classifier : heads_of(config)) {
            const HeadConfig head =
                classifier ? HeadConfig(ClassifierConfig{.classes = 3, .hidden = 64}) : HeadConfig();
            const std::vector<MicroBatch> batches{classifier ? random_labelled_batch(config, 0, 3, 9, 3, 1)
                                                             : random_batch(config, 0, 3, 9, 1)};
            TinyModel full(config, head);
            const double loss = full.pass(batches, training(), 1);
            const auto distance = [&](TinyModel& other) {
                return relative_distance(other.store.gradients(), full.store.gradients());
            };
            double farthest = 0;
            for (std::uint64_t seed = 0; seed < 12; ++seed) {
                TinyModel nudged(config, head);
                nudge(nudged.store, seed);
                nudged.pass(batches, training(), 1);
                farthest = std::max(farthest, distance(nudged));
            }
            for (int threads : {1, 2, 3}) {
                SCOPED_TRACE(fmt::format("{}, {} threads{}", name, threads, classifier ? ", classifier" : ""));
                TinyModel rounded(config, head, Precision::bf16);
                EXPECT_NEAR(rounded.pass(batches, training(), threads) / loss, 1, 0.02);
                EXPECT_GT(distance(rounded), 1e-5);
                EXPECT_LT(distance(rounded), 2 * farthest);
            }
        }
}

TEST(Bf16StageTest, WeightsAreRoundedWhenTheyChange) {
    ParameterStore store;
    const ParameterId id =
        store.declare({.name = "w", .global = {3, 5}, .local = {}, .slicing = {}, .init = Init::normal(1)});
    store.allocate(true, Precision::bf16);
    store.initialize(1);
    const auto expect_rounded = [&] {
        for (std::size_t i = 0; i < 15; ++i) {
            BFloat16 want;
            round_to_bfloat16(&want, store.value(id).data + i, 1);
            EXPECT_EQ(store.factor(id).rounded().data[i].bits, want.bits);
        }
    };
    expect_rounded();
    store.value(id).data[7] = 3.14159F;
    store.round_values();
    expect_rounded();
}

}  // namespace
}  // namespace ulmpi::reference
