#include "jobs/chain.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "base/error.hpp"
#include "tests/base/temporary_folder.hpp"
#include "tests/data/test_tokenizer.hpp"

namespace ulmpi {
namespace {

class Chain : public testing::Test {
protected:
    std::string file(const std::string& text) {
        const std::string path = (folder_.path() / "chain.ini").string();
        std::ofstream(path) << text;
        return path;
    }
    std::string refusal(const std::string& text) {
        try {
            stages_of_file(file(text));
        } catch (const UsageError& error) {
            return error.what();
        }
        return "";
    }
    TemporaryFolder folder_;
};

const std::string three =
    "seed = 7\n[pretrain]\ndata = a\ntrain-steps = 3\nrun = runs/one\n"
    "[finetune.lm]\ninit-from = runs/one\ndata = b\nepochs = 2\nrun = runs/two\n"
    "[finetune.classifier]\ninit-from = runs/two/\ntrain = c.tsv\ntest = d.tsv\nrun = runs/three\n";

TEST_F(Chain, ReadsTheStagesInTheirOrder) {
    const std::vector<ConfiguredStage> stages = stages_of_file(file(three + "[submit]\nnodes = 2\n"));
    ASSERT_EQ(stages.size(), 3u);
    EXPECT_EQ(stages[0].command, "pretrain");
    EXPECT_EQ(stages[1].init_from, "runs/one");
    EXPECT_EQ(stages[2].run, "runs/three");
    EXPECT_FALSE(stages[1].evaluates);
    EXPECT_TRUE(stages[2].evaluates);
    for (const ConfiguredStage& stage : stages) EXPECT_EQ(stage.options["seed"], 7);
    // What a job reads says what was given and nothing else: a classifier's shape comes from its parent.
    EXPECT_NE(stages[2].given.find("seed = 7\n"), std::string::npos);
    EXPECT_EQ(stages[2].given.find("num-layers"), std::string::npos);
    EXPECT_EQ(stages_of_file(file(stages[0].given)).at(0).options, stages[0].options) << stages[0].given;
}

TEST_F(Chain, TheExampleThatUsersCopyIsOne) {
    const std::vector<ConfiguredStage> stages = stages_of_file(ULMPI_SOURCE_DIR "/scripts/three-stages.ini");
    ASSERT_EQ(stages.size(), 3u);
    EXPECT_EQ(stages[1].init_from, stages[0].run);
    EXPECT_EQ(stages[2].init_from, stages[1].run);
}

TEST_F(Chain, SaysWhatIsWrong) {
    EXPECT_NE(refusal("[submit]\nnodes = 2\n").find("no section"), std::string::npos);
    EXPECT_NE(refusal("[pretrain]\ndata = a\nrun = r\n").find("--train-steps"), std::string::npos);
    EXPECT_NE(refusal("[pretrain]\ndata = a\ntrain-stpes = 3\nrun = r\n").find("did you mean"), std::string::npos);
    EXPECT_NE(refusal("[pretrain]\ndata = a\ntrain-steps = 3\nrun = r\n"
                      "[finetune.lm]\ninit-from = elsewhere\ndata = b\nepochs = 2\nrun = two\n")
                  .find("begins with elsewhere"),
              std::string::npos);
    EXPECT_NE(refusal("[pretrain]\ndata = a\ntrain-steps = 3\nrun = r\n"
                      "[finetune.lm]\ninit-from = r\ndata = b\nepochs = 2\nrun = ./r/\n")
                  .find("both work in"),
              std::string::npos);
    EXPECT_NE(refusal("pipeline-parallel-size = 99\n" + three).find("pretrain: --pipeline-parallel-size 99"),
              std::string::npos);
    EXPECT_NE(refusal(three + "tensor-parallel-size = 99\n").find("finetune classifier: --tensor-parallel-size 99"),
              std::string::npos);
    EXPECT_NE(refusal("[finetune.classifier]\ntrain = a.tsv\nrun = r\n").find("--tokenizer"), std::string::npos);
    EXPECT_NE(refusal("[submit.pretran]\nnodes = 2\n" + three).find("submit.pretrain"), std::string::npos);
}

TEST_F(Chain, RefusesTheInputsThatTheStageWouldRefuse) {
    const std::string tokenizer = (folder_ / "tokenizer.json").string(), train = (folder_ / "train.tsv").string();
    test_tokenizer().save(tokenizer);
    const std::vector<ConfiguredStage> stages =
        stages_of_file(file("[finetune.classifier]\ntokenizer = " + tokenizer + "\ntrain = " + train +
                            "\nrun = " + (folder_ / "run").string() + "\n"));
    const Communicator alone = Communicator::world();
    const auto refusal_of = [&](const char* texts) {
        write_whole(train, texts);
        return message_of<UsageError>([&] { states_of(stages, alone); });
    };
    EXPECT_EQ(refusal_of("label\ttext\na\tthe cat\nb\tthe mat\n"), "");
    EXPECT_EQ(refusal_of("label\ttext\na\tthe cat\na\tthe mat\n"),
              "finetune classifier: " + train + " has one class alone; a classifier needs two or more");
    EXPECT_NE(refusal_of("label\ttext\na the cat\n").find("no tab"), std::string::npos);
}

TEST_F(Chain, RecordsAreReadAsTheyWereWritten) {
    EXPECT_FALSE(ChainRecord::load(folder_.path()));
    const ChainRecord record{"a \"file\".ini",
                             {{"pretrain", "runs/one", "12", "1.sbatch", "1-12.log"}, {"finetune lm", "r", "", "", ""}},
                             "/here"};
    record.save(folder_.path());
    const auto read = ChainRecord::load(folder_.path());
    ASSERT_TRUE(read);
    EXPECT_EQ(read->config, record.config);
    EXPECT_EQ(read->working_folder, "/here");
    ASSERT_EQ(read->stages.size(), 2u);
    EXPECT_EQ(read->stages[0].job, "12");
    EXPECT_EQ(read->stages[1].command, "finetune lm");
    std::ofstream(folder_.path() / "chain.json") << "{\"config\": 3";
    EXPECT_THROW(ChainRecord::load(folder_.path()), UsageError);
}

}  // namespace
}  // namespace ulmpi
