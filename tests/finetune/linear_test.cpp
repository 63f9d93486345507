// The linear model of words, its parts against scikit-learn (make_linear_golden.py) and against differences.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <random>

#include "base/error.hpp"
#include "finetune/linear_model.hpp"
#include "finetune/linear_problem.hpp"

namespace ulmpi {
namespace {

nlohmann::json golden(const std::string& part) {
    std::ifstream file(ULMPI_SOURCE_DIR "/tests/finetune/linear_golden.json");
    return nlohmann::json::parse(file).at(part);
}

std::map<std::uint64_t, std::uint32_t> counts_of(const std::string& text, int order) {
    std::map<std::uint64_t, std::uint32_t> counts;
    for (const CountedNgram gram : count_ngrams(text, order)) counts[gram.hash()] = gram.count();
    return counts;
}

/// The hash of a whole text of `words` words: what its n-grams of that length have beyond the shorter ones.
std::uint64_t hash_of(const std::string& text, int words) {
    auto grams = counts_of(text, words);
    if (words > 1)
        for (const auto& [hash, count] : counts_of(text, words - 1)) grams.erase(hash);
    EXPECT_EQ(grams.size(), 1u) << text;
    return grams.begin()->first;
}

TEST(WordFeatures, NgramsAndCountsAreThoseOfScikitLearn) {
    std::size_t compared = 0;
    const nlohmann::json entries = golden("ngrams");
    for (const auto& entry : entries) {
        std::map<std::uint64_t, std::uint32_t> expected;
        for (const auto& [gram, count] : entry["counts"].items()) {
            const auto words = 1 + std::ranges::count(gram, ' ');
            expected[hash_of(gram, static_cast<int>(words))] = count.get<std::uint32_t>();
            ++compared;
        }
        EXPECT_EQ(counts_of(entry["text"], 3), expected) << entry["text"];
    }
    EXPECT_GT(compared, 200u);
}

TEST(WordFeatures, CaseAccentsAndApostrophesCountAsWritten) {
    const auto same = [](const std::string& a, const std::string& b) { return counts_of(a, 3) == counts_of(b, 3); };
    EXPECT_TRUE(same("\u00c9COLE Stra\u00dfe", "e\u0301cole STRASSE"));
    EXPECT_TRUE(same("don\u2019t", "don't"));
    EXPECT_TRUE(same("  a,b;\tc\n", "a b c"));
    EXPECT_TRUE(same("a \xff\xc3 b", "a b"));  // not UTF-8
    EXPECT_TRUE(same("\u5929\u6c14\u597d", "\u5929 \u6c14 \u597d"));
    EXPECT_FALSE(same("\u0915\u093f", "\u0915"));  // a vowel sign belongs to its word
    EXPECT_FALSE(same("ecole", "\u00e9cole"));
    EXPECT_FALSE(same("a b", "b a"));
    EXPECT_FALSE(same("ab", "a b"));
    EXPECT_TRUE(counts_of("... --- \u2026", 3).empty());
}

/// Three to five letters in a row of each word between two blanks, by plain loops.
std::map<std::string, std::uint32_t> pieces_of(const std::vector<std::string>& words) {
    std::map<std::string, std::uint32_t> pieces;
    for (const std::string& word : words)
        for (std::size_t n = 3; n <= 5; ++n)
            for (std::size_t first = 0; first + n <= word.size() + 2; ++first)
                ++pieces[(" " + word + " ").substr(first, n)];
    return pieces;
}

std::map<std::uint64_t, std::uint32_t> counted(const std::string& text, bool pieces) {
    std::map<std::uint64_t, std::uint32_t> counts;
    for (const CountedNgram gram : count_ngrams(text, {2, true}))
        if ((gram.hash() % 2 == 1) == pieces) counts[gram.hash()] = gram.count();
    return counts;
}

TEST(WordFeatures, PiecesAreThoseOfEachWord) {
    const std::vector<std::pair<std::string, std::vector<std::string>>> texts{
        {"Reprint, the PRINT!", {"reprint", "the", "print"}},
        {"a print? of a_b", {"a", "print", "of", "a_b"}},
        {"", {}},
        {"banana bananas", {"banana", "bananas"}},
    };
    for (const auto& [text, words] : texts) {
        std::vector<std::uint32_t> expected, got;
        for (const auto& [piece, count] : pieces_of(words)) expected.push_back(count);
        for (const auto& [hash, count] : counted(text, true)) got.push_back(count);
        std::ranges::sort(expected);
        std::ranges::sort(got);
        EXPECT_EQ(got, expected) << text;
        EXPECT_EQ(counted(text, false).size(), count_ngrams(text, 2).size()) << text;
        for (const auto& [other, its_words] : texts) {
            std::size_t both = 0, both_got = 0;
            const auto its_pieces = pieces_of(its_words);
            const auto its_got = counted(other, true);
            for (const auto& [piece, count] : pieces_of(words)) both += its_pieces.contains(piece);
            for (const auto& [hash, count] : counted(text, true)) both_got += its_got.contains(hash);
            EXPECT_EQ(both_got, both) << text << " | " << other;
        }
    }
    EXPECT_EQ(counted("\u00c9t\u00e9", true), counted("e\u0301TE\u0301", true));
    EXPECT_TRUE(counted("? ! \u4e2d", true).size() <= 1);  // a lone character between two blanks
}

TEST(WordFeatures, APieceCountsHalf) {
    for (const CountedNgram gram : count_ngrams("no no", {1, true})) {
        const float whole = 1 + std::log(static_cast<float>(gram.count()));
        EXPECT_FLOAT_EQ(value_of(gram, {1, true}), gram.hash() % 2 == 1 ? whole / 2 : whole);
        EXPECT_FLOAT_EQ(value_of(gram, 1), whole);
    }
}

TEST(WordFeatures, TheMatrixHoldsWhatEnoughTextsHave) {
    const std::vector<std::string> texts{"a b", "a c a", "", "a b d"};
    const WordMatrix all = word_matrix(texts, 2, 1, 1000, 2), some = word_matrix(texts, 2, 2, 1000, 1);
    EXPECT_EQ(all.width(), 8u);  // a, b, c, d, a b, a c, c a, b d
    EXPECT_EQ(some.width(), 3u);
    EXPECT_EQ(some.starts, (std::vector<std::uint64_t>{0, 3, 4, 4, 7}));
    const std::uint32_t a = some.index.find(hash_of("a", 1));
    EXPECT_EQ(some.columns[3], a);
    EXPECT_FLOAT_EQ(some.values[3], 1 + std::log(2.0f));
    EXPECT_EQ(some.index.find(hash_of("d", 1)), HashIndex::none);
    EXPECT_EQ(word_matrix(texts, 2, 1, 3, 1).least_texts, 2u);  // raised until three columns are enough
    EXPECT_EQ(word_matrix(texts, 2, 1, 1, 1).width(), 1u);
    EXPECT_EQ(word_matrix(std::vector<std::string>{"", ""}, 2, 1, 10, 1).width(), 0u);
}

TEST(HashIndex, FindsWhatItHoldsAndNothingElse) {
    std::mt19937_64 random(1);
    for (const std::size_t size : {0u, 1u, 2u, 3u, 64u, 1000u}) {
        std::vector<std::uint64_t> hashes;
        for (std::size_t i = 0; i < size; ++i) hashes.push_back(random() >> 16);
        std::ranges::sort(hashes);
        const HashIndex index(hashes);
        for (std::size_t i = 0; i < size; ++i) EXPECT_EQ(index.find(hashes[i]), i);
        for (int i = 0; i < 1000; ++i) {
            const std::uint64_t hash = random() >> 16;
            EXPECT_EQ(index.find(hash) != HashIndex::none, std::ranges::binary_search(hashes, hash));
        }
    }
}

/// One of the golden regressions: a matrix of all its texts, the first of which are trained on.
struct Example {
    explicit Example(const nlohmann::json& from)
        : texts(from["texts"]),
          labels(from["labels"]),
          classes(from["classes"]),
          weights(classes, 1.0),
          rows(from["rows"].get<std::size_t>()),
          matrix(word_matrix(texts, from["order"].get<int>(), 1, 1 << 20, 1)) {
        std::iota(rows.begin(), rows.end(), 0u);
        problem.emplace(matrix, labels, classes, weights, rows, from["emphasis"].get<double>());
    }
    std::vector<std::string> texts;
    std::vector<std::int32_t> labels;
    std::size_t classes;
    std::vector<double> weights;
    std::vector<std::uint32_t> rows;
    WordMatrix matrix;
    std::optional<LinearProblem> problem;
};

TEST(LinearProblem, ProbabilitiesOfOtherRowsAreThoseOfScikitLearn) {
    const nlohmann::json entries = golden("regressions");
    ASSERT_EQ(entries.size(), 4u);
    for (const auto& entry : entries) {
        const Example example(entry);
        LogisticObjective objective(example.problem->regression());
        objective.set_strength(entry["strength"]);
        std::vector<double> v(objective.size(), 0.0), scores(example.classes);
        minimise(objective, v, 1e-10);
        objective.take(v);
        const std::vector<double> expected = entry["log_probabilities"];
        for (std::size_t i = 0; i < expected.size(); ++i) {
            if (i % example.classes == 0) {
                objective.scores(scores, example.rows.size() + i / example.classes);
                normalise_scores(scores);
            }
            EXPECT_NEAR(scores[i % example.classes], expected[i], 2e-6);  // scales are floats
        }
    }
}

// What the regression computes with merged columns is what the weights of single n-grams give.
TEST(LinearProblem, WeightsOfNgramsGiveTheScoresOfTheRegression) {
    const nlohmann::json entries = golden("regressions");
    ASSERT_EQ(entries.size(), 4u);
    for (const auto& entry : entries) {
        const Example example(entry);
        LogisticObjective objective(example.problem->regression());
        objective.set_strength(entry["strength"]);
        std::vector<double> v(objective.size(), 0.0), scores(example.classes);
        minimise(objective, v, 1e-6);
        objective.take(v);
        const WordMatrix& matrix = example.matrix;
        const auto n = static_cast<double>(example.rows.size());
        for (std::size_t row = 0; row < matrix.rows(); ++row) {
            objective.scores(scores, row);
            std::vector<double> expected(example.classes, 0.0);
            double square = 0;
            for (std::uint64_t k = matrix.starts[row]; k < matrix.starts[row + 1]; ++k) {
                const std::uint32_t j = matrix.columns[k];
                const std::uint32_t texts = example.problem->texts()[j];
                if (texts == 0) continue;  // training does not know it
                const double x = static_cast<double>(matrix.values[k]) * (std::log((1 + n) / (1 + texts)) + 1);
                square += x * x;
                for (std::size_t c = 0; c < example.classes; ++c)
                    expected[c] += x * example.problem->weight(j, c, objective.weights());
            }
            for (std::size_t c = 0; c < example.classes; ++c)
                EXPECT_NEAR(scores[c], expected[c] / std::sqrt(std::max(square, 1e-9)) + objective.bias()[c], 1e-5);
        }
    }
}

TEST(LogisticObjective, GradientAndHessianAreThoseOfDifferences) {
    Example example(golden("regressions")[3]);
    example.weights = {0.5, 2, 1};
    example.problem.emplace(example.matrix, example.labels, example.classes, example.weights, example.rows, 3.0);
    LogisticObjective objective(example.problem->regression());
    objective.set_strength(5);
    std::mt19937_64 random(2);
    std::normal_distribution<double> normal;
    std::vector<double> v(objective.size()), d(v.size()), g(v.size()), before(v.size()), after(v.size()), hd(v.size());
    for (double& x : v) x = normal(random);
    for (double& x : d) x = normal(random);
    const auto at = [&](double step) {
        std::vector<double> moved(v);
        for (std::size_t i = 0; i < v.size(); ++i) moved[i] += step * d[i];
        return moved;
    };
    const double h = 1e-5;
    const double higher = objective.evaluate(at(h));
    objective.gradient(after, at(h));
    const double lower = objective.evaluate(at(-h));
    objective.gradient(before, at(-h));
    objective.evaluate(v);
    objective.gradient(g, v);
    objective.hessian_product(hd, d);
    const double slope = std::inner_product(g.begin(), g.end(), d.begin(), 0.0);
    EXPECT_NEAR(slope, (higher - lower) / (2 * h), 1e-7 * std::abs(slope));
    for (std::size_t i = 0; i < v.size(); ++i) EXPECT_NEAR(hd[i], (after[i] - before[i]) / (2 * h), 1e-6);
}

TEST(LogisticObjective, TheMinimumIsStationaryWhereverItWasSoughtFrom) {
    const nlohmann::json entries = golden("regressions");
    ASSERT_EQ(entries.size(), 4u);
    for (const auto& entry : entries) {
        const Example example(entry);
        LogisticObjective objective(example.problem->regression());
        objective.set_strength(entry["strength"]);
        std::vector<double> v(objective.size(), 0.0), from_elsewhere(v.size(), 1.0), g(v.size());
        minimise(objective, v, 1e-10);
        minimise(objective, from_elsewhere, 1e-10);
        objective.evaluate(v);
        objective.gradient(g, v);
        for (std::size_t i = 0; i < v.size(); ++i) {
            EXPECT_NEAR(g[i], 0, 1e-7);
            EXPECT_NEAR(v[i], from_elsewhere[i], 1e-4);
        }
    }
}

LinearModel sample_model() {
    LinearModel::Parts parts;
    parts.classes = 3;
    parts.kinds = 2;
    parts.summary = {300, 5, 30, 1, 0.5, 0.125};
    parts.bias = {0.5f, -1};
    for (const CountedNgram gram : count_ngrams("the quick brown fox", 2)) {
        parts.hashes.push_back(gram.hash());
        parts.texts.push_back(static_cast<std::uint32_t>(1 + gram.hash() % 300));
        parts.weights.insert(parts.weights.end(), {0.25f, static_cast<float>(parts.hashes.size())});
    }
    return LinearModel(parts);
}

TEST(LinearModel, ScoresAreThoseOfItsFormula) {
    std::vector<float> scores(3);
    const LinearModel model = sample_model();
    model.log_probabilities(scores, "unknown words");
    const double sum = std::exp(0.5) + std::exp(-1) + 1;
    EXPECT_NEAR(scores[0], 0.5 - std::log(sum), 1e-6);
    EXPECT_NEAR(scores[2], -std::log(sum), 1e-6);
    // One known n-gram, however often: x / |x| = 1.
    model.log_probabilities(scores, "fox, a fox");
    const auto grams = count_ngrams("the quick brown fox", 2);
    const auto place = std::ranges::find(grams, count_ngrams("fox", 1)[0].hash(), &CountedNgram::hash) - grams.begin();
    EXPECT_NEAR(scores[0] - scores[2], 0.5 + 0.25, 1e-6);
    EXPECT_NEAR(scores[1] - scores[2], -1 + static_cast<double>(place + 1), 1e-5);
}

TEST(LinearModel, ReadsBackWhatItWrites) {
    const LinearModel model = sample_model();
    const std::string bytes = model.bytes();
    const LinearModel again = LinearModel::from_bytes(bytes);
    EXPECT_EQ(again.bytes(), bytes);
    EXPECT_EQ(again.summary().error, 0.125);
    std::vector<float> scores(3), scores_again(3);
    for (const std::string text : {"", "the fox", "brown fox the quick quick", "nothing known"}) {
        model.log_probabilities(scores, text);
        again.log_probabilities(scores_again, text);
        EXPECT_EQ(scores, scores_again);
    }
}

TEST(LinearModel, ReadsPiecesBackAsANewerVersion) {
    LinearModel::Parts parts;
    parts.kinds = {2, true};
    parts.summary.rows = 300;
    parts.bias = {0.5f};
    for (const CountedNgram gram : count_ngrams("the quick brown fox", parts.kinds)) {
        parts.hashes.push_back(gram.hash());
        parts.texts.push_back(7);
        parts.weights.push_back(static_cast<float>(parts.hashes.size()));
    }
    const std::string bytes = LinearModel(parts).bytes();
    const LinearModel again = LinearModel::from_bytes(bytes);
    EXPECT_TRUE(again.kinds().pieces);
    EXPECT_EQ(again.bytes(), bytes);
    EXPECT_NE(bytes.substr(0, 24), sample_model().bytes().substr(0, 24));
    std::vector<float> known(2), unknown(2);
    again.log_probabilities(known, "quickest");  // pieces of it alone
    again.log_probabilities(unknown, "zzzz");
    EXPECT_NE(known, unknown);
}

TEST(LinearModel, DamagedBytesAreRefused) {
    const std::string bytes = sample_model().bytes();
    for (std::size_t length = 0; length < bytes.size(); ++length)
        EXPECT_THROW(LinearModel::from_bytes(bytes.substr(0, length)), UsageError) << length;
    EXPECT_THROW(LinearModel::from_bytes(bytes + "x"), UsageError);
    // Any other byte is refused, or gives a model that can be used.
    std::vector<float> scores;
    for (std::size_t i = 0; i < bytes.size(); ++i)
        for (int bit = 0; bit < 8; ++bit) {
            std::string damaged = bytes;
            damaged[i] = static_cast<char>(damaged[i] ^ 1 << bit);
            try {
                const LinearModel model = LinearModel::from_bytes(damaged);
                scores.assign(model.classes(), 0);
                model.log_probabilities(scores, "the quick brown fox");
            } catch (const UsageError&) {
            }
        }
    // A length beyond all memory: 19 bytes of magic, then version, classes, order, rows, folds, four doubles.
    std::string vast = bytes.substr(0, 19);
    vast += std::string("\1\3\2\144\5", 5);
    vast += std::string(32, '\0') + std::string(8, '\xff') + '\x7f';
    EXPECT_THROW(LinearModel::from_bytes(vast + bytes), UsageError);
}

}  // namespace
}  // namespace ulmpi
