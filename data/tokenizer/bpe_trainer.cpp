#include "data/tokenizer/bpe_trainer.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <queue>
#include <utility>

#include "base/error.hpp"
#include "data/tokenizer/bpe_bytes.hpp"
#include "data/tokenizer/pre_tokenizer.hpp"

namespace ulmpi {

namespace {

using Position = std::uint32_t;

/// Special tokens, then the bytes in the order of their characters; grows with the merges.
struct GrowingVocabulary : Vocabulary {
    std::vector<Position> lengths;  // in bytes, by id
    std::array<Token, 256> byte_tokens{};

    Token add(const std::string& piece, std::size_t length, bool is_special) {
        pieces.push_back(piece);
        special.push_back(is_special);
        lengths.push_back(static_cast<Position>(length));
        return static_cast<Token>(pieces.size() - 1);
    }

    explicit GrowingVocabulary(const std::vector<std::string>& special_tokens) {
        for (const std::string& piece : special_tokens) {
            const auto bytes = from_byte_level(piece);
            check_usage(!piece.empty() && !(bytes && end_of_word(*bytes, 0) == bytes->size()),
                        "the special token '{}' could be mistaken for a word of the text; use a form such as <|name|>",
                        piece);
            check_usage(std::find(pieces.begin(), pieces.end(), piece) == pieces.end(),
                        "the special token '{}' is given twice; give it once", piece);
            add(piece, 0, true);
        }
        std::array<unsigned char, 256> bytes;
        for (std::size_t i = 0; i < 256; ++i) bytes[i] = static_cast<unsigned char>(i);
        // UTF-8 sorts as its code points do.
        std::sort(bytes.begin(), bytes.end(),
                  [](unsigned char a, unsigned char b) { return byte_level_character(a) < byte_level_character(b); });
        for (const unsigned char byte : bytes) byte_tokens[byte] = add(byte_level_character(byte), 1, false);
    }

    const std::string& piece(Token id) const { return pieces[static_cast<std::size_t>(id)]; }
    Position length(Token id) const { return lengths[static_cast<std::size_t>(id)]; }
};

/// The distinct words, one after another, as tokens: a token stands in the cell of its first byte and, as ~token, in
/// that of its last; the cells between are dead. So both neighbours of a token are found without links.
class Corpus {
public:
    Corpus(const WordCounter& words, const GrowingVocabulary& vocabulary) : vocabulary_(vocabulary) {
        std::size_t cells = 1;
        words.for_each([&](std::string_view word, std::uint64_t) { cells += word.size() + 1; });
        check_usage(cells < std::numeric_limits<Position>::max(),
                    "the distinct words of the text have 4 GiB or more; train the tokenizer on a part of the text");
        cells_.reserve(cells);
        word_of_.reserve(cells);
        counts_.reserve(words.distinct_words());
        put(border);
        words.for_each([&](std::string_view word, std::uint64_t count) {
            counts_.push_back(static_cast<std::int64_t>(count));
            for (const char byte : word) put(vocabulary.byte_tokens[static_cast<unsigned char>(byte)]);
            put(border);
        });
    }

    Position size() const { return static_cast<Position>(cells_.size()); }

    /// The token that starts at a cell; negative if none does.
    Token at(Position cell) const { return cells_[cell]; }
    Position after(Position cell) const { return cell + vocabulary_.length(cells_[cell]); }

    /// The first cell of the token before `cell`; `cell` itself at the start of a word.
    Position before(Position cell) const {
        const Token last = cells_[cell - 1];
        if (last == border) return cell;
        return cell - vocabulary_.length(last < 0 ? ~last : last);
    }

    std::int64_t count(Position cell) const { return counts_[word_of_[cell]]; }

    void merge(Position left, Position right, Token merged) {
        const Position last = after(right) - 1;
        cells_[left] = merged;
        cells_[right] = dead;
        cells_[last] = ~merged;
    }

private:
    static constexpr Token border = std::numeric_limits<Token>::min(), dead = border + 1;

    void put(Token token) {
        cells_.push_back(token);
        word_of_.push_back(static_cast<std::uint32_t>(counts_.empty() ? 0 : counts_.size() - 1));
    }

    const GrowingVocabulary& vocabulary_;
    std::vector<Token> cells_;
    std::vector<std::uint32_t> word_of_;
    std::vector<std::int64_t> counts_;
};

/// A pair of neighbours: how often it stands in the text, and where in the corpus, from left to right. An occurrence
/// that a later merge took away stays listed and is recognised by its cells.
struct Pair {
    std::uint64_t key;
    std::int64_t count = 0;
    std::uint32_t touched = 0;  // the last merge that made an occurrence
    std::vector<Position> occurrences;
};

/// All pairs that ever occurred, found by key.
class PairTable {
public:
    PairTable() : slots_(1 << 16, free_slot) {}

    std::uint32_t index(std::uint64_t key) {
        std::size_t at = slot_of(key);
        while (slots_[at] != free_slot && pairs_[slots_[at]].key != key) at = (at + 1) & (slots_.size() - 1);
        if (slots_[at] != free_slot) return slots_[at];
        const auto fresh = static_cast<std::uint32_t>(pairs_.size());
        slots_[at] = fresh;
        pairs_.push_back({key, 0, 0, {}});
        if (pairs_.size() * 2 > slots_.size()) grow();
        return fresh;
    }
    Pair& operator[](std::uint32_t index) { return pairs_[index]; }
    std::uint32_t size() const { return static_cast<std::uint32_t>(pairs_.size()); }

private:
    static constexpr std::uint32_t free_slot = UINT32_MAX;

    std::size_t slot_of(std::uint64_t key) const {
        const std::uint64_t mixed = key * 0x9E3779B97F4A7C15u;
        return (mixed ^ mixed >> 32) & (slots_.size() - 1);
    }
    void grow() {
        slots_.assign(slots_.size() * 2, free_slot);
        for (std::uint32_t i = 0; i < size(); ++i) {
            std::size_t at = slot_of(pairs_[i].key);
            while (slots_[at] != free_slot) at = (at + 1) & (slots_.size() - 1);
            slots_[at] = i;
        }
    }

    std::vector<std::uint32_t> slots_;  // open addressing, linear probing, at most half full
    std::vector<Pair> pairs_;
};

/// A pair in the queue with the count it had when it was put there.
struct Candidate {
    std::int64_t count;
    std::uint64_t key;
    std::uint32_t pair;
    bool operator<(const Candidate& other) const {
        return count != other.count ? count < other.count : key > other.key;
    }
};

class Trainer {
public:
    Trainer(const WordCounter& words, const BpeTrainingOptions& options)
        : vocabulary_(options.special_tokens),
          corpus_(words, vocabulary_),
          threshold_(static_cast<std::int64_t>(std::clamp<std::uint64_t>(
              options.min_frequency, 1, static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())))) {}

    Vocabulary run(std::size_t vocabulary_size) {
        count_pairs();
        while (vocabulary_.pieces.size() < vocabulary_size && !queue_.empty()) {
            const Candidate top = queue_.top();
            queue_.pop();
            const std::int64_t count = pairs_[top.pair].count;
            if (count == top.count) {
                merge(top.pair);
            } else if (count >= threshold_) {
                queue_.push({count, top.key, top.pair});
            }
        }
        return std::move(vocabulary_);
    }

private:
    void count_pairs() {
        for (Position cell = 1; cell + 1 < corpus_.size(); ++cell)
            if (corpus_.at(cell) >= 0 && corpus_.at(cell + 1) >= 0)
                add_occurrence(corpus_.at(cell), corpus_.at(cell + 1), cell, corpus_.count(cell));
        queue_touched();
    }

    void merge(std::uint32_t pair) {
        const std::uint64_t key = pairs_[pair].key;
        const auto left = static_cast<Token>(key >> 32), right = static_cast<Token>(key & 0xFFFFFFFFu);
        const Token merged = vocabulary_.add(vocabulary_.piece(left) + vocabulary_.piece(right),
                                             vocabulary_.length(left) + vocabulary_.length(right), false);
        vocabulary_.merges.push_back({left, right, merged});
        ++merge_;
        std::vector<Position> occurrences = std::exchange(pairs_[pair].occurrences, {});
        for (const Position cell : occurrences) {
            if (corpus_.at(cell) != left) continue;
            const Position next = corpus_.after(cell);
            if (corpus_.at(next) != right) continue;
            const std::int64_t count = corpus_.count(cell);
            pairs_[pair].count -= count;
            const Position before = corpus_.before(cell), after = corpus_.after(next);
            if (before != cell) remove_occurrence(corpus_.at(before), left, count);
            if (corpus_.at(after) >= 0) remove_occurrence(right, corpus_.at(after), count);
            corpus_.merge(cell, next, merged);
            if (before != cell) add_occurrence(corpus_.at(before), merged, before, count);
            if (corpus_.at(after) >= 0) add_occurrence(merged, corpus_.at(after), cell, count);
        }
        queue_touched();
    }

    void add_occurrence(Token left, Token right, Position cell, std::int64_t count) {
        const std::uint32_t index = pairs_.index(pair_key(left, right));
        Pair& pair = pairs_[index];
        pair.count += count;
        pair.occurrences.push_back(cell);
        if (pair.touched != merge_) {
            pair.touched = merge_;
            touched_.push_back(index);
        }
    }

    void remove_occurrence(Token left, Token right, std::int64_t count) {
        pairs_[pairs_.index(pair_key(left, right))].count -= count;
    }

    void queue_touched() {
        for (const std::uint32_t index : touched_)
            if (pairs_[index].count >= threshold_) queue_.push({pairs_[index].count, pairs_[index].key, index});
        touched_.clear();
    }

    GrowingVocabulary vocabulary_;
    Corpus corpus_;
    std::int64_t threshold_;
    PairTable pairs_;
    std::priority_queue<Candidate> queue_;
    std::vector<std::uint32_t> touched_;
    std::uint32_t merge_ = 1;
};

}  // namespace

Tokenizer train_bpe(const WordCounter& words, const BpeTrainingOptions& options) {
    const std::size_t smallest = 256 + options.special_tokens.size();
    check_usage(options.vocabulary_size >= smallest && options.vocabulary_size <= std::numeric_limits<Token>::max(),
                "a vocabulary of {} tokens cannot be trained; ask for at least {}, which are the 256 bytes and the "
                "special tokens",
                options.vocabulary_size, smallest);
    return Tokenizer(Trainer(words, options).run(options.vocabulary_size), "the trained tokenizer");
}

}  // namespace ulmpi
