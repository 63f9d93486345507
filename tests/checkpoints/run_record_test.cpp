// Oracles: a round trip; files of older versions, written out by hand; and what is no run's record.
#include "checkpoints/run_record.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.hpp"

namespace ulmpi {
namespace {

using nlohmann::json;

RunRecord full() {
    RunRecord record{.kind = classifier_kind, .command = "finetune classifier"};
    record.model = ModelConfig{.layers = 2, .hidden = 32, .heads = 4, .ffn = 128, .vocabulary = 300};
    record.classifier = {{"bad", "good"}, {.classes = 2, .hidden = 7, .pooling = Pooling::mean, .wide = true}, 40};
    record.ensemble = {2, 0.25, 0.5, {{"a/model.h5", 30}, {"b/model.h5"}}};
    record.data = {"shards", 1000, 77};
    record.tokenizer_fingerprint = ~std::uint64_t{0};
    record.saved = {{.step = 30, .tokens = 900, .seconds = 1.5, .best = BestStep{20, 0.5}}, 7, {30, 30, 10}, true};
    record.lineage = {{"command", "finetune classifier"}, {"parent", "00ff"}};
    record.options = {{"lr", 0.001}, {"epochs", nullptr}};
    return record;
}

TEST(RunRecord, ComesBackAsItWas) {
    EXPECT_EQ(run_record_from(to_json(full())), full());
    EXPECT_EQ(run_record_from(json::parse(to_json(full()).dump())), full());
    EXPECT_EQ(run_record_from(to_json(RunRecord{})), RunRecord{});
}

TEST(RunRecord, OfAnOlderVersion) {
    json old = to_json(full());
    old["classifier"].erase("wide");
    old["progress"].erase("ledger");
    old["progress"].erase("best");
    old["of a newer version"] = 1;
    RunRecord expected = full();
    expected.classifier->head.wide = false;
    expected.saved->progress.ledger = std::nullopt;
    expected.saved->progress.best = std::nullopt;
    EXPECT_EQ(run_record_from(old), expected);
}

TEST(RunRecord, WhatIsNoneIsRefusedWithTheNameOfTheFile) {
    const auto refused = [](const json& metadata) {
        CheckpointInfo info;
        info.metadata = metadata;
        try {
            record_of("some/file.h5", info);
        } catch (const UsageError& problem) {
            return std::string(problem.what()).find("'some/file.h5'") != std::string::npos;
        }
        return false;
    };
    EXPECT_TRUE(refused(json::array()));
    EXPECT_TRUE(refused("text"));
    EXPECT_TRUE(refused({{"kind", 5}}));
    EXPECT_TRUE(refused({{"kind", "classifier"}, {"classifier", {{"classes", 3}}}}));
    EXPECT_TRUE(refused({{"progress", {{"step", "three"}}}}));
    EXPECT_TRUE(refused({{"ensemble", json::array({1})}}));
    EXPECT_TRUE(refused({{"model", {{"layers", 1}}}}));
    json pooled = to_json(full());
    pooled["classifier"]["pooling"] = "none";
    EXPECT_TRUE(refused(pooled));
    EXPECT_FALSE(refused({{"kind", "language-model"}, {"tokenizer_fingerprint", 3}}));
}

TEST(RunRecord, AnEnsembleSaysWhereItComesFromAndHasNoProgress) {
    const json first = to_json(full());
    const json metadata = as_ensemble(first, {3, 0.5, 0.25, {{"a", 4}, {"b", 5}, {"c"}}});
    EXPECT_TRUE(is_ensemble(metadata));
    const RunRecord record = run_record_from(metadata);
    EXPECT_FALSE(record.saved);
    EXPECT_EQ(record.ensemble->of[1].step, 5u);
    EXPECT_EQ(record.ensemble->of[2].step, std::nullopt);
    EXPECT_EQ(record.classifier, full().classifier);
    EXPECT_EQ(shape_as_stored(metadata), shape_as_stored(first));
}

}  // namespace
}  // namespace ulmpi
