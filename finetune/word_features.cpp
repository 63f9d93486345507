#include "finetune/word_features.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.hpp"
#include "base/random_key.hpp"
#include "data/document_reader.hpp"
#include "data/tokenizer/unicode.hpp"

namespace ulmpi {
namespace {

constexpr std::uint64_t hash_mask = (std::uint64_t{1} << (64 - CountedNgram::count_bits)) - 1;

/// Thai and Lao, Myanmar, Khmer, kana and bopomofo, Han: a run of letters is no word there.
bool without_spaces(char32_t c) {
    return (c >= 0x0E00 && c <= 0x0EFF) || (c >= 0x1000 && c <= 0x109F) || (c >= 0x1780 && c <= 0x17FF) ||
           (c >= 0x3040 && c <= 0x312F) || (c >= 0x3400 && c <= 0x9FFF) || (c >= 0xF900 && c <= 0xFAFF) ||
           (c >= 0x20000 && c <= 0x3FFFF);
}

/// Hashes the words of a text, one after the other, and, where they are wanted, the pieces of each.
class WordHasher {
public:
    WordHasher(std::string_view text, bool with_pieces) : with_pieces_(with_pieces) {
        for (std::size_t at = 0; at < text.size();) {
            const auto byte = static_cast<unsigned char>(text[at]);
            if (byte < 128) {
                read_ascii(byte);
                ++at;
            } else {
                const CodePoint code = decode_utf8(text, at);
                read_beyond_ascii(code);
                at += code.length == 0 ? 1 : code.length;
            }
        }
        end_word();
    }
    std::vector<std::uint64_t> words, pieces;

private:
    void read_ascii(unsigned char byte) {
        const bool upper = byte >= 'A' && byte <= 'Z';
        if (upper || (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '_')
            letter(upper ? static_cast<unsigned char>(byte + ('a' - 'A')) : byte);
        else if (byte == '?' || byte == '!' || byte == '\'')
            lone_word(byte);
        else
            end_word();
    }
    void read_beyond_ascii(CodePoint code) {
        constexpr char32_t right_quotation_mark = 0x2019;  // the apostrophe of typeset text
        if (code.length == 0) return end_word();
        if (code.value == right_quotation_mark) return lone_word('\'');
        const bool alone = without_spaces(code.value);
        const CharacterCategory category = category_of(code.value);
        if (category == CharacterCategory::other) return end_word();
        if (alone && category != CharacterCategory::mark) end_word();
        folded_.clear();
        append_folded(folded_, code.value);
        for (const char byte : folded_) mix(static_cast<unsigned char>(byte));
        if (with_pieces_)
            for (std::size_t at = 0; at < folded_.size();) {
                const CodePoint folded = decode_utf8(folded_, at);
                letters_ += folded.value;
                at += folded.length;
            }
    }
    void letter(unsigned char byte) {
        mix(byte);
        if (with_pieces_) letters_ += byte;
    }
    void lone_word(unsigned char byte) {
        end_word();
        mix(byte);
        end_word();
    }
    void mix(unsigned char byte) {
        hash_ = (hash_ ^ byte) * 0x100000001b3;  // FNV-1a
        in_word_ = true;
    }
    void end_word() {
        if (in_word_) words.push_back(mix_bits(hash_));
        if (!letters_.empty()) add_pieces();
        hash_ = 0xcbf29ce484222325;
        in_word_ = false;
    }

    // Of the letters of a word between its two ends.
    void add_pieces() {
        constexpr char32_t end = U' ';
        letters_.insert(letters_.begin(), end);
        letters_ += end;
        for (std::size_t first = 0; first < letters_.size(); ++first) {
            std::uint64_t hash = 0;
            for (std::size_t n = 1; n <= NgramKinds::most_letters && first + n <= letters_.size(); ++n) {
                hash = mix_bits(hash ^ letters_[first + n - 1]);
                if (n >= NgramKinds::least_letters) pieces.push_back(hash);
            }
        }
        letters_.clear();
    }

    bool with_pieces_;
    std::uint64_t hash_ = 0xcbf29ce484222325;
    bool in_word_ = false;
    std::string folded_;
    std::u32string letters_;  ///< of the word that is being read
};

/// The places in `grams`, which is ascending, where a number of at least `least` equals begins; calls f(value, times).
template <typename F>
void for_each_group(const std::vector<std::uint64_t>& ascending, F f) {
    for (std::size_t first = 0; first < ascending.size();) {
        std::size_t last = first + 1;
        while (last < ascending.size() && ascending[last] == ascending[first]) ++last;
        f(ascending[first], last - first);
        first = last;
    }
}

}  // namespace

float value_of(CountedNgram gram, NgramKinds kinds) {
    constexpr float of_a_piece = 0.5f;
    const bool piece = kinds.pieces && gram.hash() % 2 == 1;
    return (piece ? of_a_piece : 1.0f) * (1 + std::log(static_cast<float>(gram.count())));
}

std::vector<CountedNgram> count_ngrams(std::string_view text, NgramKinds kinds) {
    const WordHasher hasher(text, kinds.pieces);
    const std::vector<std::uint64_t>& words = hasher.words;
    const std::uint64_t kind_bit = kinds.pieces ? 1 : 0;
    std::vector<std::uint64_t> grams;
    grams.reserve(words.size() * static_cast<std::size_t>(kinds.order) + hasher.pieces.size());
    for (std::size_t first = 0; first < words.size(); ++first) {
        std::uint64_t hash = 0;
        const std::size_t last = std::min(words.size(), first + static_cast<std::size_t>(kinds.order));
        for (std::size_t word = first; word < last; ++word) {
            hash = mix_bits(hash ^ words[word]);
            grams.push_back(hash & hash_mask & ~kind_bit);
        }
    }
    for (const std::uint64_t hash : hasher.pieces) grams.push_back((hash & hash_mask) | kind_bit);
    std::sort(grams.begin(), grams.end());
    std::vector<CountedNgram> counted;
    for_each_group(grams, [&](std::uint64_t hash, std::size_t times) {
        const std::uint64_t most = (1u << CountedNgram::count_bits) - 1;
        counted.push_back({hash << CountedNgram::count_bits | std::min<std::uint64_t>(times, most)});
    });
    return counted;
}

HashIndex::HashIndex(std::vector<std::uint64_t> ascending) : hashes_(std::move(ascending)) {
    check(hashes_.size() < none, "too many n-grams for one table");
    const auto leading = static_cast<int>(std::bit_width(hashes_.size()));
    shift_ = 64 - CountedNgram::count_bits - leading;
    begins_.assign((std::size_t{1} << leading) + 1, 0);
    for (const std::uint64_t hash : hashes_) ++begins_[(hash >> shift_) + 1];
    for (std::size_t i = 1; i < begins_.size(); ++i) begins_[i] += begins_[i - 1];
}

std::uint32_t HashIndex::find(std::uint64_t hash) const {
    if (hashes_.empty()) return none;
    const std::uint64_t leading = hash >> shift_;
    for (std::uint32_t i = begins_[leading]; i < begins_[leading + 1]; ++i)
        if (hashes_[i] == hash) return i;
    return none;
}

WordMatrix word_matrix(std::span<const std::string> texts, NgramKinds kinds, std::uint32_t least_texts,
                       std::size_t most_columns, int threads) {
    std::vector<std::vector<CountedNgram>> rows(texts.size());
    parallel_loop(threads, rows.size(), [&](std::size_t, std::size_t i) { rows[i] = count_ngrams(texts[i], kinds); });
    std::vector<std::uint64_t> all;
    std::size_t entries = 0;
    for (const auto& row : rows) entries += row.size();
    all.reserve(entries);
    for (const auto& row : rows)
        for (const CountedNgram gram : row) all.push_back(gram.hash());
    std::sort(all.begin(), all.end());

    // How many columns each choice of least_texts would give: those at the last bin are in at least so many texts.
    std::vector<std::size_t> with(texts.size() + 2, 0);
    for_each_group(all, [&](std::uint64_t, std::size_t times) { ++with[times]; });
    for (std::size_t times = texts.size() + 1; times-- > 0;) with[times] += with[times + 1];
    while (least_texts < with.size() - 1 && with[least_texts] > most_columns) ++least_texts;

    WordMatrix matrix;
    matrix.least_texts = least_texts;
    std::vector<std::uint64_t> kept;
    kept.reserve(with[std::min<std::size_t>(least_texts, with.size() - 1)]);
    for_each_group(all, [&](std::uint64_t hash, std::size_t times) {
        if (times >= least_texts) kept.push_back(hash);
    });
    std::vector<std::uint64_t>().swap(all);
    matrix.index = HashIndex(std::move(kept));
    matrix.starts.push_back(0);
    for (auto& row : rows) {
        for (const CountedNgram gram : row) {
            const std::uint32_t column = matrix.index.find(gram.hash());
            if (column == HashIndex::none) continue;
            matrix.columns.push_back(column);
            matrix.values.push_back(value_of(gram, kinds));
        }
        matrix.starts.push_back(matrix.columns.size());
        std::vector<CountedNgram>().swap(row);
    }
    return matrix;
}

}  // namespace ulmpi
