// The data commands as a user calls them. Oracles: the library's own results, and one another.

#include "data/commands.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/files/hdf5_file.hpp"
#include "base/files/seal.hpp"
#include "data/tokenizer/tokenizer.hpp"
#include "tests/base/temporary_folder.hpp"
#include "tests/data/packed.hpp"

namespace ulmpi {
namespace {

using Words = std::vector<std::string>;

class DataCommands : public testing::Test {
protected:
    /// What the command prints on standard output.
    std::string run(const Words& words, int expected_status = 0) {
        testing::internal::CaptureStderr();
        testing::internal::CaptureStdout();
        int status = -1;
        const std::string problem =
            message_of<UsageError>([&] { status = data_command(words, Communicator::world()); });
        EXPECT_EQ(problem, "");
        EXPECT_EQ(status, expected_status);
        std::fflush(stdout);
        people_ = testing::internal::GetCapturedStderr();
        return testing::internal::GetCapturedStdout();
    }
    nlohmann::json result(const Words& words, int expected_status = 0) {
        return nlohmann::json::parse(run(words, expected_status));
    }
    std::string problem(const Words& words) {
        return message_of<UsageError>([&] { data_command(words, Communicator::world()); });
    }
    std::string at(const std::string& name) const { return (folder_ / name).string(); }

    void SetUp() override {
        write_whole(at("text"), text_);
        tokenizer_result_ =
            result({"tokenizer", "--input", at("text"), "--vocab-size", "280", "--output", at("tokenizer.json")});
    }

    TemporaryFolder folder_;
    const std::string text_ = "the cat sat on the mat\nthe \xff hat\r\n\nthat is the cat";
    nlohmann::json tokenizer_result_;
    std::string people_;  // what the last command said on standard error
};

TEST_F(DataCommands, TokenizerLearnsFromAnyFormOfTheText) {
    EXPECT_EQ(tokenizer_result_["kind"], "tokenizer");
    EXPECT_EQ(tokenizer_result_["bytes"], text_.size());
    EXPECT_EQ(tokenizer_result_["vocabulary_size"], Tokenizer::load(at("tokenizer.json")).vocabulary_size());
    write_whole(at("text.gz"), gzipped(text_));
    result({"tokenizer", "--input", at("text.gz"), "--vocab-size", "280", "--output", at("new/2.json"),
            "--threads-per-rank", "1"});
    EXPECT_EQ(read_whole(at("new/2.json")), read_whole(at("tokenizer.json")));
}

TEST_F(DataCommands, EncodePrintsALineOfIdsPerLine) {
    const Tokenizer tokenizer = Tokenizer::load(at("tokenizer.json"));
    std::string expected;
    for (const char* line : {"the cat sat on the mat", "the \xff hat\r", "", "that is the cat"}) {
        const std::vector<Token> ids = tokenizer.encode(line);
        for (std::size_t i = 0; i < ids.size(); ++i) expected += (i == 0 ? "" : " ") + std::to_string(ids[i]);
        expected += '\n';
    }
    EXPECT_EQ(run({"encode", "--tokenizer", at("tokenizer.json"), "--input", at("text")}), expected);
}

TEST_F(DataCommands, ShardsAreMadeShownAndVerified) {
    const auto made = result({"shards", "--tokenizer", at("tokenizer.json"), "--input", at("text"), at("text"),
                              "--output", at("shards"), "--shard-tokens", "30"});
    EXPECT_EQ(made["documents"], 8);
    EXPECT_EQ(made["bytes"], 2 * text_.size());
    EXPECT_EQ(made["words"], 2 * (13 + 3));
    const auto shown = result({"show", at("shards")});
    EXPECT_NE(people_.find("the cat sat on the mat\\n"), std::string::npos) << people_;
    const auto verified = result({"verify", at("shards")});
    EXPECT_EQ(verified["ok"], true);
    for (const char* name : {"shards", "tokens", "documents", "bytes", "words", "vocabulary_size"}) {
        EXPECT_EQ(made[name], shown[name]) << name;
        EXPECT_EQ(made[name], verified[name]) << name;
    }
    EXPECT_GT(made["shards"], 1);
    EXPECT_EQ(result({"verify", at("shards/shard-00001.h5")})["shards"], 1);

    std::string shard = read_whole(at("shards/shard-00001.h5"));
    shard[shard.size() - 5] ^= 16;
    write_whole(at("shards/shard-00001.h5"), shard);
    const auto damaged = result({"verify", at("shards")}, 1);
    EXPECT_EQ(damaged["ok"], false);
    EXPECT_NE(damaged["problem"].get<std::string>().find("shard-00001.h5' is damaged"), std::string::npos);
}

TEST_F(DataCommands, VerifyComparesDocumentsWithTokens) {
    result({"shards", "--tokenizer", at("tokenizer.json"), "--input", at("text"), "--output", at("shards")});
    const std::string path = at("shards/shard-00000.h5");
    {
        Hdf5File file = Hdf5File::open_to_change(path);
        const std::uint64_t second = file.read<std::uint64_t>("/documents")[1] + 1;
        file.dataset("/documents").write<std::uint64_t>({1}, {1}, std::vector<std::uint64_t>{second});
        file.close();
    }
    seal_file(path, token_shard_kind);
    const auto verified = result({"verify", at("shards")}, 1);
    EXPECT_NE(verified["problem"].get<std::string>().find("documents do not begin"), std::string::npos);
}

TEST_F(DataCommands, VerifyReadsTheTokenizerBesideTheShards) {
    result({"shards", "--tokenizer", at("tokenizer.json"), "--input", at("text"), "--output", at("shards")});
    result({"tokenizer", "--input", at("text"), "--vocab-size", "260", "--output", at("shards/tokenizer.json"),
            "--overwrite", "on"});
    EXPECT_EQ(result({"verify", at("shards")}, 1)["ok"], false);
    EXPECT_EQ(result({"verify", at("shards/shard-00000.h5")})["ok"], true);
}

TEST_F(DataCommands, LabelledSets) {
    write_whole(at("set.tsv"), "label\ttext\nb\tthe cat\na\tthe mat\nb\t\n");
    const auto made = result({"shards", "--tokenizer", at("tokenizer.json"), "--labelled", "on", "--input",
                              at("set.tsv"), "--output", at("set.h5")});
    EXPECT_EQ(made["classes"], (Words{"a", "b"}));
    const auto shown = result({"show", at("set.h5")});
    EXPECT_EQ(shown["classes"]["b"], 2);
    EXPECT_EQ(shown["sample"][0], "b: the cat");
    EXPECT_EQ(result({"verify", at("set.h5")})["tokens"], made["tokens"]);
}

TEST_F(DataCommands, RefuseWhatCannotBeDone) {
    const Words shards{"shards", "--tokenizer", at("tokenizer.json"), "--output", at("shards"), "--input"};
    const auto with = [](Words words, const Words& more) {
        words.insert(words.end(), more.begin(), more.end());
        return words;
    };
    EXPECT_NE(problem(with(shards, {at("missing")})).find("missing"), std::string::npos);
    EXPECT_NE(problem(with(shards, {at("text"), "--shard-tokens", "0"})).find("--shard-tokens"), std::string::npos);
    EXPECT_NE(problem(with(shards, {at("text"), "--documents", "page"})).find("--documents"), std::string::npos);
    EXPECT_NE(problem(with(shards, {at("text"), at("text"), "--labelled", "on"})).find("one --input"),
              std::string::npos);
    EXPECT_FALSE(std::filesystem::exists(at("shards")));
    run(with(shards, {at("text")}));
    EXPECT_NE(problem(with(shards, {at("text")})).find("exists and is not empty"), std::string::npos);
    EXPECT_NE(run(with(shards, {at("text"), "--overwrite", "on"})), "");

    EXPECT_NE(problem({"tokenizer", "--input", at("text"), "--output", at("text")}).find("exists"), std::string::npos);
    EXPECT_EQ(read_whole(at("text")), text_);
    EXPECT_NE(
        problem({"tokenizer", "--input", at("text"), "--output", at("x"), "--vocab-size", "5"}).find("--vocab-size"),
        std::string::npos);
    EXPECT_NE(problem({"verify", at("missing")}).find("missing"), std::string::npos);
    EXPECT_NE(problem({"show", at("text")}).find("not a file of this program"), std::string::npos);
    EXPECT_NE(problem({"show"}).find("data"), std::string::npos);
    EXPECT_NE(problem({"shwo"}).find("show"), std::string::npos);
}

}  // namespace
}  // namespace ulmpi
