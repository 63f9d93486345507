// Training with products of rounded factors against training in full: the same but for the rounding of a factor, 2^-9.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

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

TEST(Bf16StageTest, LossAndGradientsAreThoseOfFullProducts) {
    if (const std::string reason = no_bf16_reason(); !reason.empty()) GTEST_SKIP() << reason;
    for (const auto& [name, config] : tiny_configs())
        for (bool classifier : {false, true})
            for (int threads : {1, 2, 3}) {
                SCOPED_TRACE(fmt::format("{}, {} threads{}", name, threads, classifier ? ", classifier" : ""));
                const HeadConfig head =
                    classifier ? HeadConfig(ClassifierConfig{.classes = 3, .hidden = 6}) : HeadConfig();
                TinyModel full(config, head), rounded(config, head, Precision::bf16);
                const std::vector<MicroBatch> batches{classifier ? random_labelled_batch(config, 0, 3, 9, 3, 1)
                                                                 : random_batch(config, 0, 3, 9, 1)};
                const double loss = full.pass(batches, training(), threads);
                EXPECT_NEAR(rounded.pass(batches, training(), threads) / loss, 1, 0.02);
                EXPECT_GT(relative_distance(rounded.store.gradients(), full.store.gradients()), 1e-5);
                // A rounding may change which position of a text is the largest, and which ReLU is on.
                EXPECT_LT(relative_distance(rounded.store.gradients(), full.store.gradients()),
                          classifier ? 0.2 : 0.04);
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
