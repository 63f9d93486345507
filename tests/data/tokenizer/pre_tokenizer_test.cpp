// The scanner against its oracle: the same pattern, run by PCRE2.

#include "data/tokenizer/pre_tokenizer.hpp"

#include <gtest/gtest.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <utf8proc.h>

#include <stdexcept>

#include "tests/data/tokenizer/bpe_reference.hpp"

namespace ulmpi {
namespace {

// PCRE2's \s has U+180E, which lost White_Space in Unicode 6.3: the property is spelt out.
const std::string white_space =
    R"(\x09-\x0d\x20\x85\xa0\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

class Regex {
public:
    explicit Regex(const std::string& pattern) {
        int error = 0;
        PCRE2_SIZE at = 0;
        code_ = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.c_str()), pattern.size(), PCRE2_UTF | PCRE2_UCP,
                              &error, &at, nullptr);
        if (!code_) throw std::runtime_error("the pattern does not compile");
        pcre2_jit_compile(code_, PCRE2_JIT_COMPLETE);
        match_ = pcre2_match_data_create_from_pattern(code_, nullptr);
    }
    Regex(const Regex&) = delete;
    Regex& operator=(const Regex&) = delete;
    ~Regex() {
        pcre2_match_data_free(match_);
        pcre2_code_free(code_);
    }

    /// The end of the match at `begin`, and the number of the highest group that took part.
    struct Match {
        std::size_t end;
        int group;
    };
    Match match(std::string_view text, std::size_t begin) const {
        const int groups = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), begin,
                                       PCRE2_ANCHORED | PCRE2_NO_UTF_CHECK, match_, nullptr);
        if (groups < 0) throw std::runtime_error("no match");
        return {pcre2_get_ovector_pointer(match_)[1], groups - 1};
    }

private:
    pcre2_code* code_ = nullptr;
    pcre2_match_data* match_ = nullptr;
};

const Regex& gpt2_pattern() {
    static const Regex regex(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^)" + white_space + R"(\p{L}\p{N}]+|[)" +
                             white_space + "]+(?![^" + white_space + "])|[" + white_space + "]+");
    return regex;
}

/// A byte that is not part of well-formed UTF-8 behaves as an ASCII symbol.
std::string with_symbols_for_invalid_bytes(std::string text) {
    for (std::size_t at = 0; at < text.size();) {
        utf8proc_int32_t code = 0;
        const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at,
                                             static_cast<utf8proc_ssize_t>(text.size() - at), &code);
        if (length <= 0) text[at] = '\x01';
        at += length <= 0 ? 1 : static_cast<std::size_t>(length);
    }
    return text;
}

void expect_same_words(const std::string& text) {
    const std::string oracle = with_symbols_for_invalid_bytes(text);
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = end_of_word(text, begin);
        ASSERT_EQ(end, gpt2_pattern().match(oracle, begin).end)
            << "at byte " << begin << " of " << testing::PrintToString(text.substr(0, 400));
        begin = end;
    }
}

std::string utf8(utf8proc_int32_t code) {
    utf8proc_uint8_t bytes[4];
    return {reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(utf8proc_encode_char(code, bytes))};
}

TEST(PreTokenizer, EveryCodePointHasTheClassOfThePattern) {
    using pre_tokenizer::CharacterClass;
    // Unassigned in PCRE2's Unicode, perhaps not in utf8proc's: not compared.
    const Regex classes(R"((?:(\p{L})|(\p{N})|([)" + white_space + R"(])|(\p{Cn})|.))");
    const CharacterClass of_group[] = {CharacterClass::symbol, CharacterClass::letter, CharacterClass::number,
                                       CharacterClass::space};
    int compared = 0;
    for (utf8proc_int32_t code = 0; code <= 0x10FFFF; ++code) {
        if ((code >= 0xD800 && code <= 0xDFFF) || code == '\n') continue;
        const std::string text = utf8(code);
        const int group = classes.match(text, 0).group;
        if (group == 4) continue;
        const auto character = pre_tokenizer::read_character(text, 0);
        ASSERT_EQ(character.kind, of_group[group]) << "U+" << std::hex << code;
        ASSERT_EQ(character.length, text.size()) << "U+" << std::hex << code;
        ++compared;
    }
    EXPECT_GT(compared, 280000);
}

TEST(PreTokenizer, RandomTextGivesTheWordsOfThePattern) {
    const std::vector<std::string> alphabet = {
        " ",  " ",      " ",      "\n",     "\t",     "\r",     "\x0b",   "a",      "b",      "S",   "s", "t", "r",
        "e",  "v",      "l",      "m",      "d",      "'",      "'",      "\"",     "1",      "2",   ".", "!", "_",
        "\0", "é",      "ß",      "ǅ",      "中",     "日",     "ｱ",      "٣",      "Ⅷ",      "½",   "😀", "€", "´",
        "’",  "\u00a0", "\u0085", "\u2028", "\u3000", "\u180e", "\u200b", "\ufeff", "\u0301", "\x1f"};
    std::mt19937 random(1);
    for (int round = 0; round < 20000; ++round) expect_same_words(random_text(random, alphabet, 1 + random() % 24));
}

TEST(PreTokenizer, RandomBytesGiveTheWordsOfThePatternWithSymbolsForInvalidOnes) {
    std::mt19937 random(2);
    std::vector<std::string> alphabet;
    for (int byte = 0; byte < 256; ++byte) alphabet.push_back(std::string(1, static_cast<char>(byte)));
    for (const char* piece :
         {" ", "a", "\xED\xA0\x80", "\xC0\xAF", "\xE0\x80\xAF", "\xF4\x90\x80\x80", "\xF0\x9F\x98", "中", "é"})
        for (int copies = 0; copies < 12; ++copies) alphabet.push_back(piece);
    for (int round = 0; round < 20000; ++round) expect_same_words(random_text(random, alphabet, 1 + random() % 24));
}

TEST(PreTokenizer, RealTextGivesTheWordsOfThePattern) {
    ULMPI_NEED_TEST_DATA("wikitext-2/valid.txt.gz");
    ULMPI_NEED_TEST_DATA("multi30k/raw/val.de.gz");
    ULMPI_NEED_TEST_DATA("tokenizers/gpt2");
    expect_same_words(read_test_data(test_data() / "wikitext-2/valid.txt.gz"));
    expect_same_words(read_test_data(test_data() / "multi30k/raw/val.de.gz"));
    expect_same_words(read_test_data(test_data() / "tokenizers/gpt2/ggml-vocab-gpt-2.gguf.inp"));
}

}  // namespace
}  // namespace ulmpi
