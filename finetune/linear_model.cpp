#include "finetune/linear_model.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "base/error.hpp"
#include "data/document_reader.hpp"

namespace ulmpi {
namespace {

static_assert(std::endian::native == std::endian::little, "a linear model is written as it lies in memory");

constexpr std::string_view magic = "ulmpi linear model\n";
constexpr std::uint64_t newest_version = 2;  // has pieces of words; 1: has none
constexpr std::uint64_t most_classes = 1 << 20, most_order = 16;

/// Appends plain values, and numbers in as many bytes as they need: seven bits a byte, the lowest first.
class ByteWriter {
public:
    template <typename T>
    void values(std::span<const T> many) {
        text.append(reinterpret_cast<const char*>(many.data()), many.size_bytes());
    }
    template <typename T>
    void value(T one) {
        values(std::span<const T>(&one, 1));
    }
    void number(std::uint64_t n) {
        for (; n >= 128; n >>= 7) text.push_back(static_cast<char>(n | 128));
        text.push_back(static_cast<char>(n));
    }
    std::string text;
};

/// Reads what a ByteWriter wrote, and nothing beyond its end.
class ByteReader {
public:
    explicit ByteReader(std::string_view text) : rest_(text) {}
    std::string_view take(std::size_t bytes) {
        require(bytes <= rest_.size());
        const std::string_view taken = rest_.substr(0, bytes);
        rest_.remove_prefix(bytes);
        return taken;
    }
    template <typename T>
    std::vector<T> values(std::uint64_t count) {
        require(count <= rest_.size() / sizeof(T));
        std::vector<T> many(count);
        const std::string_view from = take(count * sizeof(T));
        std::copy(from.begin(), from.end(), reinterpret_cast<char*>(many.data()));
        return many;
    }
    template <typename T>
    T value() {
        return values<T>(1)[0];
    }
    std::uint64_t number() {
        std::uint64_t n = 0;
        for (int shift = 0;; shift += 7) {
            const auto byte = static_cast<unsigned char>(take(1)[0]);
            require(shift < 63);
            n |= std::uint64_t{byte & 127u} << shift;
            if (byte < 128) return n;
        }
    }
    std::size_t left() const { return rest_.size(); }
    static void require(bool kept) {
        check_usage(kept, "the linear model in the checkpoint is damaged: its bytes are not those of a whole one");
    }

private:
    std::string_view rest_;
};

bool all_finite(std::span<const float> values) {
    return std::ranges::all_of(values, [](float v) { return std::isfinite(v); });
}

}  // namespace

void normalise_scores(std::span<double> scores) {
    const double maximum = std::ranges::max(scores);
    double sum = 0;
    for (const double score : scores) sum += std::exp(score - maximum);
    for (double& score : scores) score -= maximum + std::log(sum);
}

LinearModel::LinearModel(Parts parts)
    : classes_(parts.classes),
      kinds_(parts.kinds),
      summary_(parts.summary),
      bias_(std::move(parts.bias)),
      index_(std::move(parts.hashes)),
      texts_(std::move(parts.texts)),
      weights_(std::move(parts.weights)) {
    importance_.reserve(texts_.size());
    for (const std::uint32_t texts : texts_)
        importance_.push_back(static_cast<float>(
            std::log((1 + static_cast<double>(summary_.rows)) / (1 + static_cast<double>(texts))) + 1));
}

void LinearModel::log_probabilities(std::span<float> out, std::string_view text) const {
    std::vector<double> scores(classes_, 0.0);
    double square = 0;
    for (const CountedNgram gram : count_ngrams(text, kinds_)) {
        const std::uint32_t column = index_.find(gram.hash());
        if (column == HashIndex::none) continue;
        const double x = static_cast<double>(value_of(gram, kinds_)) * static_cast<double>(importance_[column]);
        square += x * x;
        for (std::size_t c = 0; c + 1 < classes_; ++c)
            scores[c] += x * static_cast<double>(weights_[column * (classes_ - 1) + c]);
    }
    const double factor = square > 0 ? 1 / std::sqrt(square) : 0;
    for (std::size_t c = 0; c + 1 < classes_; ++c) scores[c] = scores[c] * factor + static_cast<double>(bias_[c]);
    normalise_scores(scores);
    std::transform(scores.begin(), scores.end(), out.begin(), [](double score) { return static_cast<float>(score); });
}

std::vector<float> LinearModel::log_probabilities(std::span<const std::string> texts, int threads) const {
    std::vector<float> all(texts.size() * classes_);
    parallel_loop(threads, texts.size(), [&](std::size_t, std::size_t i) {
        log_probabilities(std::span(all).subspan(i * classes_, classes_), texts[i]);
    });
    return all;
}

std::size_t LinearModel::memory_bytes() const {
    return index_.bytes() + texts_.size() * (sizeof(std::uint32_t) + sizeof(float)) + weights_.size() * sizeof(float);
}

std::string LinearModel::bytes() const {
    ByteWriter to;
    to.text = magic;
    to.number(kinds_.pieces ? 2 : 1);
    to.number(classes_);
    to.number(static_cast<std::uint64_t>(kinds_.order));
    to.number(summary_.rows);
    to.number(summary_.folds);
    for (const double value : {summary_.strength, summary_.emphasis, summary_.loss, summary_.error}) to.value(value);
    to.number(texts_.size());
    to.values<float>(bias_);
    std::uint64_t before = 0;
    for (const std::uint64_t hash : index_.hashes()) to.number(hash - std::exchange(before, hash));
    for (const std::uint32_t texts : texts_) to.number(texts);
    to.values<float>(weights_);
    return std::move(to.text);
}

LinearModel LinearModel::from_bytes(std::string_view bytes) {
    ByteReader from(bytes);
    const auto require = ByteReader::require;
    require(from.take(magic.size()) == magic);
    const std::uint64_t version = from.number();
    check_usage(version <= newest_version, "the linear model in the checkpoint was made by a newer version of ulmpi");
    require(version >= 1);
    Parts parts;
    LinearSummary& summary = parts.summary;
    parts.classes = from.number();
    const std::uint64_t order = from.number();
    parts.kinds = {static_cast<int>(std::min(order, most_order + 1)), version == 2};
    summary.rows = from.number();
    summary.folds = from.number();
    require(parts.classes >= 2 && parts.classes <= most_classes && order >= 1 && order <= most_order);
    for (double* value : {&summary.strength, &summary.emphasis, &summary.loss, &summary.error}) {
        *value = from.value<double>();
        require(std::isfinite(*value));
    }
    const std::uint64_t columns = from.number();
    require(columns <= from.left() && columns < HashIndex::none);
    parts.bias = from.values<float>(parts.classes - 1);
    std::uint64_t hash = 0;
    for (std::uint64_t i = 0; i < columns; ++i) {
        const std::uint64_t step = from.number();
        require(step > 0 || i == 0);
        hash += step;
        require(step >> 48 == 0 && hash >> 48 == 0);
        parts.hashes.push_back(hash);
    }
    for (std::uint64_t i = 0; i < columns; ++i) {
        const std::uint64_t texts = from.number();
        require(texts >= 1 && texts <= summary.rows && texts <= HashIndex::none);
        parts.texts.push_back(static_cast<std::uint32_t>(texts));
    }
    parts.weights = from.values<float>(columns * (parts.classes - 1));
    require(from.left() == 0 && all_finite(parts.bias) && all_finite(parts.weights));
    return LinearModel(std::move(parts));
}

}  // namespace ulmpi
