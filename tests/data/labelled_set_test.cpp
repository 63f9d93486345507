// Oracles: naive encoding of each text; a sealed file must give what its TSV gives.

#include "data/labelled_set.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/error.hpp"
#include "base/files/seal.hpp"
#include "tests/base/temporary_folder.hpp"
#include "tests/data/packed.hpp"
#include "tests/data/test_tokenizer.hpp"
#include "tests/data/tokenizer/bpe_reference.hpp"

namespace ulmpi {
namespace {

using Strings = std::vector<std::string>;

const std::string small_set = "label\ttext\nsport\tthe cat\nArt\ta \"mat\"\twith a tab\nsport\t\n\xc3\xa9\t\xff\r\n";
const Strings small_texts{"the cat", "a \"mat\"\twith a tab", "", "\xff\r"};

std::vector<Token> tokens_of(const LabelledSet& set, std::size_t i) {
    const auto span = set.tokens_of(i);
    return {span.begin(), span.end()};
}

void expect_equal(const LabelledSet& a, const LabelledSet& b) {
    EXPECT_EQ(a.classes, b.classes);
    EXPECT_EQ(a.labels, b.labels);
    EXPECT_EQ(a.tokens, b.tokens);
    EXPECT_EQ(a.starts, b.starts);
    EXPECT_EQ(a.texts, b.texts);
    EXPECT_EQ(a.cut, b.cut);
}

TEST(LabelledSet, ReadsTsvPlainAndPacked) {
    const TemporaryFolder folder;
    const Tokenizer tokenizer = test_tokenizer();
    write_whole(folder / "set.tsv", small_set);
    const LabelledSet set = load_labelled_set(folder / "set.tsv", tokenizer, {.keep_texts = true});
    EXPECT_EQ(set.classes, (Strings{"Art", "sport", "\xc3\xa9"}));  // by bytes, not by locale
    EXPECT_EQ(set.labels, (std::vector<std::int32_t>{1, 0, 1, 2}));
    EXPECT_EQ(set.texts, small_texts);
    for (std::size_t i = 0; i < set.size(); ++i)
        EXPECT_EQ(tokens_of(set, i), small_texts[i].empty() ? std::vector<Token>{tokenizer.end_of_text()}
                                                            : tokenizer.encode(small_texts[i]));
    write_whole(folder / "set.tsv.gz", gzipped(small_set));
    expect_equal(load_labelled_set(folder / "set.tsv.gz", tokenizer, {.keep_texts = true}), set);
    EXPECT_TRUE(load_labelled_set(folder / "set.tsv", tokenizer).texts.empty());
}

TEST(LabelledSet, DropsCarriageReturnsOnlyIfTheHeaderHasOne) {
    const TemporaryFolder folder;
    write_whole(folder / "dos.tsv", "\xef\xbb\xbflabel\ttext\r\na\tx y\r\nb\tz");
    const LabelledSet set = load_labelled_set(folder / "dos.tsv", test_tokenizer(), {.keep_texts = true});
    EXPECT_EQ(set.texts, (Strings{"x y", "z"}));
}

TEST(LabelledSet, CutsAndCounts) {
    const TemporaryFolder folder;
    write_whole(folder / "set.tsv", "label\ttext\na\txyzxyz\na\tx\nb\txyz\n");
    const LabelledSet whole = load_labelled_set(folder / "set.tsv", test_tokenizer());
    EXPECT_EQ(whole.lengths(), (std::vector<std::uint32_t>{6, 1, 3}));
    EXPECT_EQ(whole.cut, 0U);
    const LabelledSet cut = load_labelled_set(folder / "set.tsv", test_tokenizer(), {.max_length = 3});
    EXPECT_EQ(cut.lengths(), (std::vector<std::uint32_t>{3, 1, 3}));
    EXPECT_EQ(cut.cut, 1U);
    for (std::size_t i = 0; i < 3; ++i) {
        std::vector<Token> expected = tokens_of(whole, i);
        expected.resize(std::min<std::size_t>(expected.size(), 3));
        EXPECT_EQ(tokens_of(cut, i), expected);
    }
}

TEST(LabelledSet, ASealedFileGivesWhatItsTsvGives) {
    const TemporaryFolder folder;
    const Tokenizer tokenizer = test_tokenizer();
    write_whole(folder / "set.tsv", small_set);
    save_labelled_set(folder / "set.h5", load_labelled_set(folder / "set.tsv", tokenizer), tokenizer);
    for (const LabelledOptions& options : {LabelledOptions{.keep_texts = true}, LabelledOptions{.max_length = 2},
                                           LabelledOptions{.classes = {"sport", "other", "\xc3\xa9", "Art"}}})
        expect_equal(load_labelled_set(folder / "set.h5", tokenizer, options),
                     load_labelled_set(folder / "set.tsv", tokenizer, options));

    EXPECT_THROW(load_labelled_set(folder / "set.h5", test_tokenizer(260)), UsageError);  // another tokenizer
    EXPECT_THROW(load_labelled_set(folder / "set.h5", tokenizer, {.classes = {"sport"}}), UsageError);
    std::string damaged = read_whole(folder / "set.h5");
    damaged[3000] ^= 4;
    write_whole(folder / "set.h5", damaged);
    EXPECT_THROW(load_labelled_set(folder / "set.h5", tokenizer), UsageError);
}

TEST(LabelledSet, IsWhatTheFormatSays) {
    if (std::system("/usr/bin/python3 -c 'import h5py' 2>/dev/null") != 0) GTEST_SKIP() << "python3-h5py is missing";
    const TemporaryFolder folder;
    const Tokenizer tokenizer = test_tokenizer();
    write_whole(folder / "set.tsv", small_set);
    save_labelled_set(folder / "set.h5", load_labelled_set(folder / "set.tsv", tokenizer), tokenizer);
    write_whole(folder / "check.py", R"(
import h5py, json, sys
f = h5py.File(sys.argv[1], "r")
assert [name.decode() for name in f["classes"]] == ["Art", "sport", "\u00e9"]
assert f["labels"].dtype == "<i4" and f["labels"][:].tolist() == [1, 0, 1, 2]
starts, tokens = f["documents"][:].tolist(), f["tokens"][:].tolist()
assert f["documents"].dtype == "<u8" and len(starts) == f.attrs["documents"] == 4
assert len(tokens) == f.attrs["tokens"] and starts[0] == 0 and starts == sorted(starts)
assert tokens[starts[2]:starts[3]] == [f.attrs["end_of_text"]]
assert f.attrs["format_version"] == 1 and f.attrs["vocabulary_size"] > max(tokens)
assert len(f.attrs["tokenizer_fingerprint"]) == 16 and "model" in json.loads(f["tokenizer"][()])
assert open(sys.argv[1], "rb").read(31) == b"ulmpi file 1\nkind labelled-set\n"[:31]
)");
    const std::string command =
        "/usr/bin/python3 " + (folder / "check.py").string() + " " + (folder / "set.h5").string();
    EXPECT_EQ(std::system(command.c_str()), 0);
}

TEST(LabelledSet, KeepsTheClassesOfTheTrainingSet) {
    const TemporaryFolder folder;
    write_whole(folder / "test.tsv", "label\ttext\nc\tx\na\ty\n");
    const Strings classes{"a", "b", "c"};
    const LabelledSet set = load_labelled_set(folder / "test.tsv", test_tokenizer(), {.classes = classes});
    EXPECT_EQ(set.classes, classes);
    EXPECT_EQ(set.labels, (std::vector<std::int32_t>{2, 0}));
}

TEST(LabelledSet, NamesWhatIsWrongAndWhere) {
    const TemporaryFolder folder;
    const auto problem = [&](const std::string& content, LabelledOptions options = {}) {
        write_whole(folder / "set.tsv", content);
        return message_of<UsageError>([&] { load_labelled_set(folder / "set.tsv", test_tokenizer(), options); });
    };
    const auto expect_problem = [&](const std::string& content, const std::string& words,
                                    LabelledOptions options = {}) {
        EXPECT_NE(problem(content, options).find(words), std::string::npos) << problem(content, options);
    };
    expect_problem("a\tx\n", "set.tsv', line 1: the header");
    expect_problem("text\tlabel\n", "the header");
    expect_problem("label\ttext\na\tx\nno tab here\n", "set.tsv', line 3: no tab");
    expect_problem("label\ttext\na\tx\n\na\ty\n", "line 3: no tab");
    expect_problem("label\ttext\n\tx\n", "line 2: the label is empty");
    expect_problem("label\ttext\n", "set.tsv' holds no records");
    expect_problem("", "is empty");
    expect_problem("label\ttext\na\tx\nb\ty\nz\tx\nz\tx\n", "line 4: the label 'z' is not one of the 2 classes",
                   {.classes = {"a", "b"}});
    EXPECT_THROW(load_labelled_set(folder / "missing.tsv", test_tokenizer()), UsageError);
}

TEST(LabelledSet, ReadsTrec6) {
    ULMPI_NEED_TEST_DATA("trec6");
    const std::filesystem::path data = test_data();
    const LabelledSet train = load_labelled_set(data / "trec6" / "train.tsv.gz", test_tokenizer());
    const LabelledSet test =
        load_labelled_set(data / "trec6" / "test.tsv.gz", test_tokenizer(), {.classes = train.classes});
    EXPECT_EQ(train.size(), 5452U);
    EXPECT_EQ(test.size(), 500U);
    EXPECT_EQ(train.classes, (Strings{"ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"}));
}

}  // namespace
}  // namespace ulmpi
