#include "training/lineage.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fstream>

#include "base/error.hpp"
#include "tests/base/temporary_folder.hpp"

namespace ulmpi {
namespace {

using nlohmann::json;

class Lineage : public testing::Test {
protected:
    Lineage() {
        std::ofstream(folder_ / "train.tsv") << "label\ttext\na\tone\n";
        options_ = {{"run", "r"},     {"train", (folder_ / "train.tsv").string()},
                    {"test", ""},     {"tokenizer", ""},
                    {"lr", 0.001},    {"num-layers", 12},
                    {"epochs", 3},    {"tensor-parallel-size", 1},
                    {"seed", 1},      {"micro-batch-size", 8},
                    {"walltime", ""}, {"head-normalization", "layernorm"}};
    }
    std::vector<std::string> changes(const char* name, const json& value, std::optional<std::uint64_t> parent = {}) {
        json other = options_;
        other[name] = value;
        return lineage_changes(lineage(options_, parent), lineage(other, parent));
    }
    // Of a run of these options, whose inputs are the files that they name.
    static json lineage(const json& options, std::optional<std::uint64_t> parent) {
        RunSpec run;
        run.command = "finetune classifier";
        run.options = options;
        run.parent = parent;
        for (const char* name : {"train", "test", "tokenizer"})
            if (options[name] != "") run.inputs[name] = file_fingerprint(options[name].get<std::string>());
        return lineage_of(run);
    }
    TemporaryFolder folder_;
    json options_;
};

TEST_F(Lineage, KnowsWhatIsLearnedFromWhereAJobWorks) {
    EXPECT_EQ(changes("lr", 0.002), std::vector<std::string>{"--lr is 0.002, was 0.001"});
    EXPECT_EQ(changes("epochs", nullptr), std::vector<std::string>{"--epochs is nothing, was 3"});
    EXPECT_EQ(changes("seed", 2).size(), 1u);
    for (const auto& [name, value] : std::vector<std::pair<const char*, json>>{
             {"run", "s"}, {"tensor-parallel-size", 2}, {"walltime", "1h"}, {"micro-batch-size", 4}, {"keep-last", 9}})
        EXPECT_EQ(changes(name, value), std::vector<std::string>{}) << name;
}

// Runs from before there was a choice keep their lineage; a recipe is what it stands for.
TEST_F(Lineage, OptionsThatCameLaterChangeNothingUntilTheyDo) {
    const json before = lineage(options_, {});
    options_.update({{"ema", 0.0},
                     {"label-smoothing", 0.0},
                     {"reinit-blocks", 0},
                     {"early-stop", 0},
                     {"recipe", "best"},
                     {"architecture", "decoder"},
                     {"embedding-size", 0}});
    EXPECT_EQ(lineage_changes(before, lineage(options_, {})), std::vector<std::string>{});
    EXPECT_EQ(changes("ema", 0.9), std::vector<std::string>{"--ema is 0.9, was nothing"});
    EXPECT_EQ(changes("label-smoothing", 0.1).size(), 1u);
    EXPECT_EQ(changes("recipe", "ulmfit"), std::vector<std::string>{});
    EXPECT_EQ(changes("eval-interval", 7), std::vector<std::string>{});
    options_["early-stop"] = 3;
    options_["eval-interval"] = 5;
    EXPECT_EQ(changes("eval-interval", 7).size(), 1u);
}

TEST_F(Lineage, AMicroBatchCountsWhereItsStatisticsDo) {
    options_["head-normalization"] = "batchnorm";
    EXPECT_EQ(changes("micro-batch-size", 4).size(), 1u);
}

TEST_F(Lineage, AParentDecidesTheShape) {
    EXPECT_EQ(changes("num-layers", 6).size(), 1u);
    EXPECT_EQ(changes("num-layers", 6, 77), std::vector<std::string>{});
    const json one = lineage(options_, 77), two = lineage(options_, 78), none = lineage(options_, std::nullopt);
    EXPECT_EQ(lineage_changes(one, two),
              std::vector<std::string>{"the parent's fingerprint is 000000000000004e, was 000000000000004d"});
    EXPECT_FALSE(lineage_changes(none, one).empty());
    EXPECT_FALSE(lineage_changes(json::object(), one).empty());  // of an older version, which told nothing
}

TEST_F(Lineage, DataAreKnownByContentNotByName) {
    const json before = lineage(options_, {});
    std::filesystem::rename(folder_ / "train.tsv", folder_ / "moved.tsv");
    EXPECT_THROW(lineage(options_, {}), UsageError);
    options_["train"] = (folder_ / "moved.tsv").string();
    EXPECT_EQ(lineage(options_, {}), before);
    std::ofstream(folder_ / "moved.tsv") << "label\ttext\na\tonE\n";
    EXPECT_EQ(lineage_changes(before, lineage(options_, {})).size(), 1u);
    std::ofstream(folder_ / "test.tsv") << "label\ttext\na\tone\n";
    const json untested = lineage(options_, {});
    options_["test"] = (folder_ / "test.tsv").string();
    EXPECT_EQ(lineage_changes(untested, lineage(options_, {})).size(), 1u);
}

TEST_F(Lineage, AModelIsItsShapeItsTokenizerAndItsWeights) {
    CheckpointInfo info;
    info.metadata = {{"model", {{"layers", 2}}}, {"progress", {{"seconds", 1.5}}}};
    info.tokenizer_json = "{}";
    info.tensors = {{"a", {2, 3}, 5}, {"b", {6}, 7}};
    const std::uint64_t fingerprint = model_fingerprint(info);
    const auto differs = [&](auto change) {
        CheckpointInfo other = info;
        change(other);
        return model_fingerprint(other) != fingerprint;
    };
    EXPECT_FALSE(differs([](CheckpointInfo& other) { other.metadata["progress"]["seconds"] = 2.5; }));
    EXPECT_FALSE(differs([](CheckpointInfo& other) { other.bytes = 9; }));
    EXPECT_TRUE(differs([](CheckpointInfo& other) { other.metadata["model"]["layers"] = 3; }));
    EXPECT_TRUE(differs([](CheckpointInfo& other) { other.tokenizer_json = "{ }"; }));
    EXPECT_TRUE(differs([](CheckpointInfo& other) { other.tensors[1].crc32 = 8; }));
    EXPECT_TRUE(differs([](CheckpointInfo& other) { other.tensors[0].shape = {3, 2}; }));
    EXPECT_TRUE(differs([](CheckpointInfo& other) { other.tensors.pop_back(); }));
}

}  // namespace
}  // namespace ulmpi
