// Reading and writing the files of tokenizers, good and bad.

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "data/tokenizer/bpe_bytes.hpp"
#include "data/tokenizer/bpe_trainer.hpp"
#include "data/tokenizer/tokenizer.hpp"
#include "tests/base/temporary_folder.hpp"
#include "tests/data/tokenizer/bpe_reference.hpp"

namespace ulmpi {
namespace {

using Json = nlohmann::ordered_json;

Tokenizer small_tokenizer() {
    WordCounter words;
    words.add("the cat and the hat and the \"rat\" \\ \t été\n\x01");
    return train_bpe(words,
                     {.vocabulary_size = 280, .min_frequency = 1, .special_tokens = {"<|endoftext|>", "<\"pad\">"}});
}

void expect_same(const Tokenizer& a, const Tokenizer& b) {
    EXPECT_EQ(a.fingerprint(), b.fingerprint());
    EXPECT_EQ(a.vocabulary().pieces, b.vocabulary().pieces);
    EXPECT_EQ(a.vocabulary().special, b.vocabulary().special);
    EXPECT_EQ(a.vocabulary().merges, b.vocabulary().merges);
}

TEST(TokenizerFiles, AByteIsACharacterAndBack) {
    std::string all;
    for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
    EXPECT_EQ(from_byte_level(to_byte_level(all)), all);
    EXPECT_EQ(to_byte_level(" a\n\xad\xff"), "ĠaĊŃÿ");
    EXPECT_EQ(from_byte_level("a b"), std::nullopt);
    EXPECT_EQ(from_byte_level("中"), std::nullopt);
    EXPECT_EQ(from_byte_level("\xc4"), std::nullopt);
}

TEST(TokenizerFiles, WhatIsSavedLoadsTheSame) {
    const TemporaryFolder folder;
    const Tokenizer tokenizer = small_tokenizer();
    tokenizer.save(folder / "tokenizer.json");
    expect_same(Tokenizer::load(folder / "tokenizer.json"), tokenizer);
    expect_same(Tokenizer::load(folder.path()), tokenizer);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1) << "nothing is left behind";
    const Json file = Json::parse(read_whole(folder / "tokenizer.json"));
    EXPECT_EQ(file["pre_tokenizer"]["type"], "ByteLevel");
    EXPECT_EQ(file["pre_tokenizer"]["add_prefix_space"], false);
    EXPECT_EQ(file["decoder"]["type"], "ByteLevel");
    EXPECT_EQ(file["added_tokens"][0]["content"], "<|endoftext|>");
    EXPECT_EQ(file["model"]["vocab"]["<|endoftext|>"], 0);
    EXPECT_THROW(tokenizer.save(folder / "no folder/tokenizer.json"), Error);
}

TEST(TokenizerFiles, FormattingAndEitherFormOfMergesAreTheSameTokenizer) {
    const Tokenizer tokenizer = small_tokenizer();
    Json file = Json::parse(tokenizer.to_json());
    expect_same(Tokenizer::from_json(file.dump(), "compact"), tokenizer);
    for (Json& merge : file["model"]["merges"]) merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
    file["model"].erase("type");
    file["truncation"] = {{"max_length", 5}};
    expect_same(Tokenizer::from_json(file.dump(1), "old form"), tokenizer);
    file["post_processor"] = Json::parse(R"({"type": "TemplateProcessing", "special_tokens": {},
                                             "single": [{"Sequence": {"id": "A", "type_id": 0}}]})");
    expect_same(Tokenizer::from_json(file.dump(), "written by transformers"), tokenizer);
    file["model"]["merges"].erase(file["model"]["merges"].size() - 1);
    EXPECT_NE(Tokenizer::from_json(file.dump(), "a merge less").fingerprint(), tokenizer.fingerprint());
}

TEST(TokenizerFiles, Gpt2sFilesLoadUnderEitherName) {
    const TemporaryFolder folder;
    const Tokenizer tokenizer = small_tokenizer();
    const Json file = Json::parse(tokenizer.to_json());
    std::string merges = "#version: 0.2\n";
    for (const Json& merge : file["model"]["merges"])
        merges += merge[0].get<std::string>() + " " + merge[1].get<std::string>() + "\n";
    write_whole(folder / "vocab.json", file["model"]["vocab"].dump());
    EXPECT_THROW(Tokenizer::load(folder.path()), UsageError);
    write_whole(folder / "vocab.bpe", merges);
    expect_same(Tokenizer::load(folder.path()), tokenizer);
    const std::string message = message_of<UsageError>([&] { Tokenizer::load(folder / "vocab.json"); });
    EXPECT_NE(message.find("folder"), std::string::npos) << message;
    for (const char* bad : {"#version: 0.2\nt h e\n", "#version: 0.2\nth\n", "t \xff\n", "th th\n"}) {
        write_whole(folder / "vocab.bpe", bad);
        EXPECT_THROW(Tokenizer::load(folder.path()), UsageError) << bad;
    }
}

TEST(TokenizerFiles, SavedGpt2LoadsTheSame) {
    ULMPI_NEED_TEST_DATA("tokenizers/gpt2");
    const Tokenizer tokenizer = Tokenizer::load(test_data() / "tokenizers/gpt2");
    expect_same(Tokenizer::from_json(tokenizer.to_json(), "gpt2"), tokenizer);
    EXPECT_EQ(std::count(tokenizer.vocabulary().special.begin(), tokenizer.vocabulary().special.end(), true), 1);
}

TEST(TokenizerFiles, AVocabularyWithoutEndOfTextSaysSo) {
    WordCounter words;
    const Tokenizer tokenizer = train_bpe(words, {.vocabulary_size = 257, .special_tokens = {"<pad>"}});
    EXPECT_THROW(static_cast<void>(tokenizer.end_of_text()), UsageError);
}

/// A tokenizer.json that cannot be honoured.
struct Damage {
    const char* word;  // that the message must hold
    std::function<void(Json&)> damage;
};

void expect_refusals(const std::vector<Damage>& cases) {
    const Tokenizer tokenizer = small_tokenizer();
    for (std::size_t i = 0; i < cases.size(); ++i) {
        Json file = Json::parse(tokenizer.to_json());
        cases[i].damage(file);
        const std::string message = message_of<UsageError>([&] { Tokenizer::from_json(file.dump(), "FILE"); });
        EXPECT_TRUE(message.starts_with("FILE: ")) << i << ": " << message;
        EXPECT_NE(message.find(cases[i].word), std::string::npos) << i << ": " << message;
        EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    }
}

TEST(TokenizerFiles, WhatIsNotByteLevelBpeIsRefusedByName) {
    expect_refusals({
        {"WordPiece", [](Json& f) { f["model"]["type"] = "WordPiece"; }},
        {"Unigram",
         [](Json& f) {
             f["model"] = {{"type", "Unigram"}, {"vocab", {{"a", 0.0}}}};
         }},
        {"no model", [](Json& f) { f.erase("model"); }},
        {"no model", [](Json& f) { f["model"] = nullptr; }},
        {"no model", [](Json& f) { f = Json::array(); }},
        {"vocab", [](Json& f) { f["model"].erase("merges"); }},
        {"vocab", [](Json& f) { f["model"]["merges"] = 3; }},
        {"NFC",
         [](Json& f) {
             f["normalizer"] = {{"type", "NFC"}};
         }},
        {"no pre_tokenizer", [](Json& f) { f["pre_tokenizer"] = nullptr; }},
        {"Sequence",
         [](Json& f) {
             f["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", Json::array()}};
         }},
        {"add_prefix_space", [](Json& f) { f["pre_tokenizer"]["add_prefix_space"] = true; }},
        {"use_regex", [](Json& f) { f["pre_tokenizer"]["use_regex"] = false; }},
        {"malformed", [](Json& f) { f["pre_tokenizer"]["use_regex"] = "yes"; }},
        {"Metaspace",
         [](Json& f) {
             f["decoder"] = {{"type", "Metaspace"}};
         }},
        {"TemplateProcessing",
         [](Json& f) {
             f["post_processor"] = {{"type", "TemplateProcessing"}};
         }},
        {"TemplateProcessing",
         [](Json& f) {
             f["post_processor"] = Json::parse(R"({"type": "TemplateProcessing",
                 "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]})");
         }},
        {"dropout", [](Json& f) { f["model"]["dropout"] = 0.1; }},
        {"ignore_merges", [](Json& f) { f["model"]["ignore_merges"] = true; }},
        {"end_of_word_suffix", [](Json& f) { f["model"]["end_of_word_suffix"] = "</w>"; }},
        {"continuing_subword_prefix", [](Json& f) { f["model"]["continuing_subword_prefix"] = "##"; }},
    });
}

TEST(TokenizerFiles, VocabulariesAndMergesThatAreNoneAreRefusedByName) {
    expect_refusals({
        {"not an integer", [](Json& f) { f["model"]["vocab"]["t"] = 1.5; }},
        {"without gaps", [](Json& f) { f["model"]["vocab"]["t"] = -1; }},
        {"without gaps", [](Json& f) { f["model"]["vocab"]["t"] = 1'000'000'000'000; }},
        {"without gaps", [](Json& f) { f["model"]["vocab"]["t"] = UINT64_MAX; }},
        {"both have id", [](Json& f) { f["model"]["vocab"]["t"] = 5; }},
        {"two ids", [](Json& f) { f["added_tokens"][0]["id"] = 7; }},
        {"byte",
         [](Json& f) {
             f["model"]["vocab"].erase("t"), f["model"]["vocab"]["tttt"] = 0, f["model"]["merges"].clear();
         }},
        {"merge 1 names",
         [](Json& f) {
             f["model"]["merges"][0] = {"zz", "t"};
         }},
        {"merge 1 names",
         [](Json& f) {
             f["model"]["merges"][0] = {"t", "z"};
         }},
        {"merge 2 is neither",
         [](Json& f) {
             f["model"]["merges"][1] = {"t", "h", "e"};
         }},
        {"merge 3 (", [](Json& f) { f["model"]["merges"][2] = "t  h"; }},
        {"malformed",
         [](Json& f) {
             f["model"]["merges"][0] = {1, 2};
         }},
        {"malformed", [](Json& f) { f["added_tokens"][0].erase("id"); }},
        {"malformed", [](Json& f) { f["added_tokens"][0] = 5; }},
        {"not special", [](Json& f) { f["added_tokens"][0]["special"] = false; }},
        {"merge",
         [](Json& f) {  // a special token that text could become
             const auto& merge = f["model"]["merges"][0];
             const std::string piece = merge[0].get<std::string>() + merge[1].get<std::string>();
             f["added_tokens"].push_back({{"id", f["model"]["vocab"][piece]}, {"content", piece}, {"special", true}});
         }},
        {"byte",
         [](Json& f) {
             f["added_tokens"].push_back({{"id", f["model"]["vocab"]["t"]}, {"content", "t"}, {"special", true}});
         }},
    });
}

TEST(TokenizerFiles, BadFilesAreRefused) {
    const TemporaryFolder folder;
    EXPECT_THROW(Tokenizer::load(folder / "absent"), UsageError);
    EXPECT_THROW(Tokenizer::load(folder.path()), UsageError);
    const std::string good = small_tokenizer().to_json();
    for (const std::string& bad :
         {std::string(), std::string("\0\0\0", 3), std::string("{"), good.substr(0, good.size() / 2), good + "x",
          std::string("\x89HDF\r\n"), std::string(100000, '['), std::string("5")}) {
        write_whole(folder / "tokenizer.json", bad);
        const std::string message = message_of<UsageError>([&] { Tokenizer::load(folder / "tokenizer.json"); });
        EXPECT_NE(message.find("tokenizer.json"), std::string::npos) << message;
    }
}

}  // namespace
}  // namespace ulmpi
