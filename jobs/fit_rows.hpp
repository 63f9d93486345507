#pragma once
// Which rows and documents are used for what: pure functions of a seed and of their labels and places.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "data/labelled_set.hpp"

namespace ulmpi {

/// `count` of the rows, in their order, each class by its share: one row of every class at least, if `count` does.
std::vector<std::uint32_t> stratified_sample(std::span<const std::int32_t> labels, std::size_t classes,
                                             std::uint64_t count, std::uint64_t seed);

/// `count` of `rows` rows at random, each as likely as any other, in their order; all where there are no more.
std::vector<std::uint32_t> random_sample(std::size_t rows, std::uint64_t count, std::uint64_t seed);

/// The rows of a set that `part` names, in its order; all classes stay.
LabelledSet rows_of(const LabelledSet& set, std::span<const std::uint32_t> part);

/// Whether a document is taken: a share of all, in even distances, the first among them.
std::function<bool(std::uint64_t document)> evenly(double share);

/// Whether each text of `set` stands among those of `other` too, whatever its label. Both hold their texts.
std::vector<bool> texts_among(const LabelledSet& set, const LabelledSet& other);

}  // namespace ulmpi
