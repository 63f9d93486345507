// OptionTable: every source, its precedence, and every way to be wrong. Oracle: the contract of the command line.

#include "base/options/table.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/error.hpp"

namespace ulmpi {
namespace {

struct Settings {
    int steps = 1000;
    std::uint64_t seed = 7;
    std::int64_t offset = -3;
    double rate = 1e-3;
    bool tie = true;
    std::string data, norm = "layernorm";
    std::vector<std::string> input;
    std::optional<double> floor;
    std::optional<std::string> from;
};

/// An environment variable for the length of a test.
class Variable {
public:
    Variable(std::string name, const std::string& value) : name_(std::move(name)) {
        setenv(name_.c_str(), value.c_str(), 1);
    }
    ~Variable() { unsetenv(name_.c_str()); }

private:
    std::string name_;
};

class OptionTableTest : public testing::Test {
protected:
    OptionTableTest() {
        table.group("Training");
        table.add("train-steps", settings.steps, "Updates of the weights.", "steps");
        table.add("seed", settings.seed, "Seed of everything drawn.");
        table.add("offset", settings.offset, "A number that may be negative.");
        table.add("lr", settings.rate, "Peak learning rate.");
        table.add("tie-embeddings", settings.tie, "Whether input and output embeddings are one.");
        table.group("Files");
        table.add("data", settings.data, "Folder of shards.", "DIR");
        table.add("normalization", settings.norm, "Which normalisation.");
        table.add("input", settings.input, "Text files.", "FILE");
        table.add("min-lr", settings.floor, "Lowest learning rate.");
        table.add("init-from", settings.from, "Run to start from.", "RUN");
        table.choices("normalization", {"layernorm", "rmsnorm"});
        table.range("train-steps", 1, 1e6);
        table.alias("steps", "train-steps");
    }
    ~OptionTableTest() override { std::filesystem::remove(path); }

    bool parse(std::vector<std::string> arguments) { return table.parse(arguments); }
    std::string refusal(std::vector<std::string> arguments) {
        try {
            table.parse(arguments);
        } catch (const UsageError& error) {
            return error.what();
        }
        return "accepted";
    }
    std::string file(const std::string& text) {
        std::ofstream(path) << text;
        return path;
    }

    const std::string path = fmt::format("{}/ulmpi_options_{}.ini", testing::TempDir(), getpid());
    Settings settings;
    OptionTable table{"finetune lm", "Continues a language model."};
};

TEST_F(OptionTableTest, DefaultsStay) {
    EXPECT_TRUE(parse({}));
    EXPECT_EQ(settings.steps, 1000);
    EXPECT_FALSE(table.given("train-steps"));
    EXPECT_FALSE(settings.floor.has_value());
}

TEST_F(OptionTableTest, CommandLine) {
    EXPECT_TRUE(parse({"--train-steps", "5", "--lr=2e-4", "--tie-embeddings", "off", "--offset", "-12", "--input", "a",
                       "b c", "--data=x=y", "--min-lr", "0"}));
    EXPECT_EQ(settings.steps, 5);
    EXPECT_EQ(settings.rate, 2e-4);
    EXPECT_FALSE(settings.tie);
    EXPECT_EQ(settings.offset, -12);
    EXPECT_EQ(settings.input, (std::vector<std::string>{"a", "b c"}));
    EXPECT_EQ(settings.data, "x=y");
    EXPECT_EQ(settings.floor, 0.0);
    EXPECT_TRUE(table.given("lr"));
    EXPECT_EQ(table.origin("lr"), Origin::command_line);
}

TEST_F(OptionTableTest, AliasAndPositional) {
    table.positional("data");
    table.positional("input");
    EXPECT_TRUE(parse({"folder", "--steps", "3", "one", "two"}));
    EXPECT_EQ(settings.steps, 3);
    EXPECT_EQ(settings.data, "folder");
    EXPECT_EQ(settings.input, (std::vector<std::string>{"one", "two"}));
}

TEST_F(OptionTableTest, ASwitchAloneIsOn) {
    settings.tie = false;
    parse({"--tie-embeddings", "--seed", "3"});
    EXPECT_TRUE(settings.tie);
    parse({"--seed", "3", "--tie-embeddings"});
    EXPECT_TRUE(settings.tie);
    parse({"--tie-embeddings", "off"});
    EXPECT_FALSE(settings.tie);
    EXPECT_NE(refusal({"--tie-embeddings", "onn"}).find("\"onn\""), std::string::npos);
    table.positional("data");
    parse({"--tie-embeddings", "shards"});
    EXPECT_TRUE(settings.tie);
    EXPECT_EQ(settings.data, "shards");
}

TEST_F(OptionTableTest, WhatWasGivenIsAFileOfItsOwn) {
    const Variable seed("ULMPI_SEED", "9");
    const std::string ini = file("[pretrain]\nseed = 1\n\n[finetune.lm]\nlr = 0.5\n");
    EXPECT_EQ(sections_of_file(ini), (std::vector<std::string>{"pretrain", "finetune.lm"}));
    parse({"--config", ini, "--data", "shards"});
    const std::string text = table.given_ini();
    for (const char* line : {"lr = 0.5\n", "seed = 9\n", "data = shards\n"})
        EXPECT_NE(text.find(line), std::string::npos) << text;
    EXPECT_EQ(text.find("offset"), std::string::npos) << text;
    EXPECT_EQ(text.find("config ="), std::string::npos) << text;
}

TEST_F(OptionTableTest, Precedence) {
    const std::string ini = file(
        "# for all\nseed = 1\nlr = 0.1\nmicro-batch-size = 4   # another command's\n\n"
        "[pretrain]\nseed = 99\nsave-interval = 30m\n"
        "[finetune.lm]\nlr = 0.2\ntrain-steps = 20\ninput = a b\ninput = c\n");
    const Variable steps("ULMPI_TRAIN_STEPS", "30"), tie("ULMPI_TIE_EMBEDDINGS", "off");
    const Variable other("ULMPI_SAVE_INTERVAL", "30m"), own("ULMPI_TEST_DATA", "/nowhere");
    EXPECT_TRUE(parse({"--config", ini, "--tie-embeddings", "on"}));
    EXPECT_EQ(settings.seed, 1u);   // before the first section; [pretrain] is not ours
    EXPECT_EQ(settings.rate, 0.2);  // our section wins over it
    EXPECT_EQ(settings.steps, 30);  // the environment wins over the file
    EXPECT_TRUE(settings.tie);      // the command line wins over the environment
    EXPECT_EQ(settings.input, (std::vector<std::string>{"a b", "c"}));
    table.set_default("lr", 9.0);  // the checkpoint yields to the file ...
    table.set_default("min-lr", 0.5);
    table.set_default("offset", 11);
    table.set_default("init-from", nullptr);
    EXPECT_EQ(settings.rate, 0.2);
    EXPECT_EQ(settings.floor, 0.5);  // ... and wins over the default
    EXPECT_EQ(settings.offset, 11);
    EXPECT_FALSE(settings.from.has_value());
    EXPECT_EQ(table.origin("offset"), Origin::checkpoint);
}

TEST_F(OptionTableTest, FileNamedByEnvironment) {
    const Variable config("ULMPI_CONFIG", file("seed = 5\n"));
    EXPECT_TRUE(parse({}));
    EXPECT_EQ(settings.seed, 5u);
}

TEST_F(OptionTableTest, MalformedValuesAreRefusedByName) {
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
        {{"--train-steps", "12x"}, "--train-steps (command line): \"12x\" is not a whole number"},
        {{"--train-steps", " 12"}, "--train-steps (command line): \" 12\" is not a whole number"},
        {{"--train-steps", "99999999999999999999"}, "\"99999999999999999999\" is out of range"},
        {{"--train-steps", "3000000000"}, "is out of range"},
        {{"--train-steps", "0"}, "--train-steps (command line): 0 must be between 1 and 1000000"},
        {{"--train-steps", "-4"}, "-4 must be between 1 and 1000000"},
        {{"--train-steps", "1e3"}, "is not a whole number"},
        {{"--seed", "-1"}, "--seed (command line): \"-1\" must not be negative"},
        {{"--seed", "-x"}, "is not a whole number"},
        {{"--lr", "nan"}, "--lr (command line): \"nan\" is not a finite number"},
        {{"--lr", "inf"}, "is not a finite number"},
        {{"--lr", "1e999"}, "is out of range"},
        {{"--lr", "0,1"}, "is not a number"},
        {{"--lr="}, "--lr (command line) needs a value"},
        {{"--lr"}, "--lr (command line) needs a value"},
        {{"--lr", "--seed", "3"}, "--lr (command line) needs a value"},
        {{"--tie-embeddings", "maybe"}, "\"maybe\" is neither on nor off"},
        {{"--normalization", "layernrom"}, "is not one of layernorm, rmsnorm; did you mean layernorm?"},
        {{"--lr", "1", "--lr", "2"}, "--lr (command line) is given twice"},
        {{"--steps", "1", "--train-steps", "2"}, "--train-steps (command line) is given twice"},
        {{"--trian-steps", "2"}, "unknown option --trian-steps (command line); did you mean --train-steps?"},
        {{"--trian-steps=2"}, "did you mean --train-steps?"},
        {{"--train-step", "2"}, "did you mean --train-steps?"},
        {{"--xyzzy"}, "unknown option --xyzzy (command line); ulmpi finetune lm --help"},
        {{"-seed", "2"}, "unexpected word \"-seed\" (command line); did you mean --seed?"},
        {{"stray"}, "unexpected word \"stray\" (command line)"},
        {{"--config", "/no/such/file"}, "/no/such/file is not a file"},
        {{"--config", "/"}, "/ is not a file"},
    };
    for (const auto& [arguments, expected] : cases)
        EXPECT_NE(refusal(arguments).find(expected), std::string::npos)
            << fmt::format("{}", fmt::join(arguments, " ")) << " gave: " << refusal(arguments);
}

TEST_F(OptionTableTest, RefusedFilesNameTheLine) {
    const std::vector<std::pair<std::string, std::string>> cases{
        {"seed = 1\n\n[finetune.lm]\nlearning-rate = 3\n", "unknown option learning-rate ({}:4)"},
        {"# trian-steps\n\nseed = 1\ntrian-steps = 3\n",
         "unknown option trian-steps ({}:4); did you mean train-steps?"},
        {"[finetune.ml]\nseed = 3\n", "unknown section [finetune.ml] ({}:2); did you mean finetune.lm?"},
        {"[pretrain]\nlearning-rat = 3\n", "unknown option learning-rat ({}:2)"},
        {"[finetune.lm]\nmicro-batch-size = 3\n", "unknown option micro-batch-size ({}:2)"},
        {"\nseed = 3\nseed = 4\n", "seed is given twice ({}:3)"},
        {"seed = 3\n\nnonsense\n", "{}:3: \"nonsense\" is neither [section] nor name = value"},
        {"\nlr = fast\n", "--lr ({}:2): \"fast\" is not a number"},
        {"data = \"open\\\n", "data ({}:1): \"open\\ starts with a quote"},
        {"config = x\n", "unknown option config ({}:1)"},
        {std::string("a\0b", 3), "{} is binary"},
    };
    for (const auto& [text, expected] : cases) {
        const std::string ini = file(text);
        const std::string wanted = fmt::format(fmt::runtime(expected), ini), got = refusal({"--config", ini});
        EXPECT_NE(got.find(wanted), std::string::npos) << "wanted: " << wanted << "\ngot: " << got;
    }
}

TEST_F(OptionTableTest, RefusedEnvironment) {
    {
        const Variable bad("ULMPI_TRAIN_STEPS", "many");
        EXPECT_EQ(refusal({}), "--train-steps (environment ULMPI_TRAIN_STEPS): \"many\" is not a whole number");
    }
    const Variable unknown("ULMPI_TRAIN_STPES", "3");
    EXPECT_EQ(refusal({}), "unknown environment variable ULMPI_TRAIN_STPES; did you mean ULMPI_TRAIN_STEPS?; unset it");
}

TEST_F(OptionTableTest, RequiredAndRefuse) {
    table.required("data");
    EXPECT_NE(refusal({}).find("ulmpi finetune lm needs --data DIR"), std::string::npos) << refusal({});
    EXPECT_TRUE(parse({"--data", "d"}));
    try {
        table.refuse("data", "d holds no shards");
        FAIL();
    } catch (const UsageError& error) {
        EXPECT_STREQ(error.what(), "--data (command line): d holds no shards");
    }
}

TEST_F(OptionTableTest, IniRunsTheSameJobAgain) {
    const std::vector<std::string> hostile{" leading",   "a#b", "\"quoted\"", "back\\slash",
                                           "two\nlines", "=",   "[x]",        ""};
    std::vector<std::string> arguments{"--lr",
                                       "0.1",
                                       "--offset",
                                       "-9223372036854775808",
                                       "--seed",
                                       "18446744073709551615",
                                       "--min-lr",
                                       "1e-300",
                                       "--tie-embeddings",
                                       "0",
                                       "--data",
                                       " # "};
    for (const std::string& word : hostile) arguments.push_back("--input=" + (word.empty() ? "x" : word));
    ASSERT_TRUE(parse(arguments));
    const Settings first = settings;
    const std::string ini = table.ini();
    const nlohmann::json values = table.json();

    settings = Settings{};
    ASSERT_TRUE(parse({"--config", file(ini)}));
    EXPECT_EQ(settings.rate, first.rate);
    EXPECT_EQ(settings.offset, first.offset);
    EXPECT_EQ(settings.seed, first.seed);
    EXPECT_EQ(settings.floor, first.floor);
    EXPECT_EQ(settings.tie, first.tie);
    EXPECT_EQ(settings.data, first.data);
    EXPECT_EQ(settings.input, first.input);
    EXPECT_EQ(settings.from, first.from);
    EXPECT_EQ(table.ini(), ini);
    EXPECT_EQ(table.json(), values);
    EXPECT_TRUE(values["init-from"].is_null());
    EXPECT_EQ(values["seed"], 18446744073709551615u);
}

TEST_F(OptionTableTest, JsonIsWhatACheckpointGivesBack) {
    ASSERT_TRUE(parse({"--lr", "0.3", "--input", "a", "b", "--tie-embeddings", "off", "--normalization", "rmsnorm"}));
    const nlohmann::json stored = nlohmann::json::parse(table.json().dump());
    Settings loaded;
    OptionTable other("finetune lm", "");
    other.add("lr", loaded.rate, "");
    other.add("input", loaded.input, "");
    other.add("tie-embeddings", loaded.tie, "");
    other.add("normalization", loaded.norm, "");
    ASSERT_TRUE(other.parse({}));
    for (const char* name : {"lr", "input", "tie-embeddings", "normalization"})
        other.set_default(name, stored.at(name));
    EXPECT_EQ(loaded.rate, 0.3);
    EXPECT_EQ(loaded.input, settings.input);
    EXPECT_FALSE(loaded.tie);
    EXPECT_EQ(loaded.norm, "rmsnorm");
}

TEST_F(OptionTableTest, HelpShowsEveryOptionWithinTheWidth) {
    table.required("data");
    table.positional("input");
    table.example("--data shards --run runs/a");
    const std::string help = table.help();
    for (const char* part :
         {"usage: ulmpi finetune lm --data DIR [options] FILE...", "ulmpi finetune lm --data shards --run runs/a",
          "Training", "--train-steps, --steps N", "[steps; default 1000]", "--normalization layernorm|rmsnorm",
          "default layernorm", "on|off", "ULMPI_TRAIN_STEPS", "--config FILE"})
        EXPECT_NE(help.find(part), std::string::npos) << part << "\n" << help;
    std::istringstream lines(help);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
}

TEST(EditDistance, KnownWords) {
    EXPECT_EQ(edit_distance("", ""), 0u);
    EXPECT_EQ(edit_distance("abc", ""), 3u);
    EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
    EXPECT_EQ(edit_distance("flaw", "lawn"), 2u);
    EXPECT_EQ(edit_distance("ml", "lm"), 1u);
    EXPECT_EQ(edit_distance("pretrian", "pretrain"), 1u);
    EXPECT_EQ(nearest("pretrian", {"data", "pretrain", "predict"}), "pretrain");
    EXPECT_EQ(nearest("zzzzzz", {"data", "pretrain"}), "");
}

}  // namespace
}  // namespace ulmpi
