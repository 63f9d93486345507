#include "jobs/fit_rows.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/random_key.hpp"

namespace ulmpi {
namespace {

// The rows class by class, those of a class in random order.
std::vector<std::uint32_t> shuffled_by_class(std::span<const std::int32_t> labels, std::uint64_t seed) {
    std::vector<std::uint64_t> keys(labels.size());
    for (std::size_t row = 0; row < labels.size(); ++row) keys[row] = random_key(seed, row);
    std::vector<std::uint32_t> order(labels.size());
    std::iota(order.begin(), order.end(), 0u);
    std::ranges::sort(order, [&](std::uint32_t a, std::uint32_t b) {
        return labels[a] != labels[b] ? labels[a] < labels[b] : keys[a] != keys[b] ? keys[a] < keys[b] : a < b;
    });
    return order;
}

}  // namespace

std::vector<std::uint32_t> stratified_sample(std::span<const std::int32_t> labels, std::size_t classes,
                                             std::uint64_t count, std::uint64_t seed) {
    std::vector<double> of_class(classes, 0), taken(classes, 0);
    for (const std::int32_t label : labels) ++of_class[static_cast<std::size_t>(label)];
    struct Place {
        double share;  ///< of its class that comes before it: the first rows of all classes, then all alike
        std::uint32_t row;
    };
    std::vector<Place> places;
    for (const std::uint32_t row : shuffled_by_class(labels, seed)) {
        const auto label = static_cast<std::size_t>(labels[row]);
        const double before = taken[label]++;
        places.push_back({before == 0 ? -1 : (before + 0.5) / of_class[label], row});
    }
    std::ranges::stable_sort(places, {}, &Place::share);
    places.resize(std::min<std::size_t>(places.size(), count));
    std::vector<std::uint32_t> rows;
    for (const Place& place : places) rows.push_back(place.row);
    std::ranges::sort(rows);
    return rows;
}

std::vector<std::uint32_t> random_sample(std::size_t rows, std::uint64_t count, std::uint64_t seed) {
    const std::uint64_t key = random_key(seed, "sample");
    std::vector<std::uint32_t> places(rows);
    std::iota(places.begin(), places.end(), 0u);
    if (count >= rows) return places;
    std::ranges::sort(places, {}, [&](std::uint32_t row) { return std::pair(random_key(key, row), row); });
    places.resize(count);
    std::ranges::sort(places);
    return places;
}

LabelledSet rows_of(const LabelledSet& set, std::span<const std::uint32_t> part) {
    LabelledSet rows;
    rows.classes = set.classes;
    rows.starts = {0};
    for (const std::uint32_t row : part) {
        const std::span<const Token> tokens = set.tokens_of(row);
        rows.labels.push_back(set.labels[row]);
        rows.tokens.insert(rows.tokens.end(), tokens.begin(), tokens.end());
        rows.starts.push_back(rows.tokens.size());
        if (!set.texts.empty()) rows.texts.push_back(set.texts[row]);
    }
    return rows;
}

std::function<bool(std::uint64_t)> evenly(double share) {
    return [share](std::uint64_t document) {
        const auto taken = [&](std::uint64_t of_first) { return std::floor(static_cast<double>(of_first) * share); };
        return document == 0 || taken(document + 1) > taken(document);
    };
}

std::vector<bool> texts_among(const LabelledSet& set, const LabelledSet& other) {
    const std::unordered_set<std::string_view> known(other.texts.begin(), other.texts.end());
    std::vector<bool> among;
    for (const std::string& text : set.texts) among.push_back(known.contains(text));
    return among;
}

}  // namespace ulmpi
