#include "finetune/linear_problem.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

namespace ulmpi {

LinearProblem::LinearProblem(const WordMatrix& matrix, std::span<const std::int32_t> labels, std::size_t classes,
                             std::span<const double> class_weights, std::span<const std::uint32_t> rows,
                             double emphasis)
    : matrix_(matrix), labels_(labels), classes_(classes), class_weights_(class_weights), rows_(rows) {
    count_texts();
    number_columns();
    scale_columns(emphasis);
    scale_rows();
}

LogisticProblem LinearProblem::regression() const {
    return {{starts_, columns_, values_}, rows_, labels_, row_scale_, column_scale_, class_weights_, prior_, 1};
}

// The bias begins at the share of each class, with half a row added to each.
void LinearProblem::count_texts() {
    counts_.assign(matrix_.width() * classes_, 0);
    std::vector<double> share(classes_, 0.5);
    for (const std::uint32_t row : rows_) {
        const auto label = static_cast<std::size_t>(labels_[row]);
        for (const std::uint32_t j : matrix_.columns_of(row)) ++counts_[j * classes_ + label];
        share[label] += class_weights_[label];
    }
    const double whole = std::accumulate(share.begin(), share.end(), 0.0);
    for (const double part : share) prior_.push_back(std::log(part / whole));
    for (std::size_t j = 0; j < matrix_.width(); ++j) {
        const std::uint32_t* of_j = counts_.data() + j * classes_;
        texts_.push_back(std::accumulate(of_j, of_j + classes_, 0u));
        const double idf = std::log((1 + static_cast<double>(rows_.size())) / (1 + texts_[j])) + 1;
        idf_.push_back(texts_[j] < matrix_.least_texts ? 0 : idf);
    }
}

// First the columns that several rows have, the commonest in front so that most of what is read lies in the cache; then
// one for each row that has n-grams of its own.
void LinearProblem::number_columns() {
    column_.assign(matrix_.width(), 0);
    share_.assign(matrix_.width(), 1.0f);
    std::vector<std::uint32_t> common;
    for (std::uint32_t j = 0; j < matrix_.width(); ++j)
        if (texts_[j] > 1 && idf_[j] > 0) common.push_back(j);
    std::ranges::stable_sort(common, std::greater(), [&](std::uint32_t j) { return texts_[j]; });
    for (const std::uint32_t j : common) column_[j] = static_cast<std::uint32_t>(width_++);
    for (const std::uint32_t row : rows_) {
        double square = 0;
        const auto for_each_own = [&](auto f) {
            for (std::uint64_t k = matrix_.starts[row]; k < matrix_.starts[row + 1]; ++k)
                if (texts_[matrix_.columns[k]] == 1 && idf_[matrix_.columns[k]] > 0)
                    f(matrix_.columns[k], static_cast<double>(matrix_.values[k]));
        };
        for_each_own([&](std::uint32_t, double x) { square += x * x; });
        if (square == 0) continue;
        for_each_own([&](std::uint32_t j, double x) {
            column_[j] = static_cast<std::uint32_t>(width_);
            share_[j] = static_cast<float>(x / std::sqrt(square));
        });
        ++width_;
    }
}

void LinearProblem::scale_columns(double emphasis) {
    double known = 0, all = 0;
    std::vector<double> total(classes_, 0.0);
    for (std::size_t j = 0; j < matrix_.width(); ++j) {
        if (idf_[j] == 0) continue;
        ++known;
        all += texts_[j];
        for (std::size_t c = 0; c < classes_; ++c) total[c] += counts_[j * classes_ + c];
    }
    column_scale_.assign(width_ * classes_, 0.0f);
    double sum = 0;
    for (std::size_t j = 0; j < matrix_.width(); ++j) {
        if (idf_[j] == 0) continue;
        for (std::size_t c = 0; c < classes_; ++c) {
            const double p = 1 + counts_[j * classes_ + c], q = 2 + texts_[j] - p;
            const double r = std::log(p / (known + total[c])) - std::log(q / (known + all - total[c]));
            const double square = 1 + emphasis * r * r;
            sum += square;
            column_scale_[column_[j] * classes_ + c] = static_cast<float>(idf_[j] * std::sqrt(square));
        }
    }
    const auto factor = static_cast<float>(known > 0 ? std::sqrt(known * static_cast<double>(classes_) / sum) : 0);
    for (float& scale : column_scale_) scale *= factor;
}

// A row's own n-grams are one entry; others' own ones, in rows that are not trained on, an entry each.
void LinearProblem::scale_rows() {
    starts_.push_back(0);
    for (std::size_t row = 0; row < matrix_.rows(); ++row) {
        double square = 0, own = 0;
        std::uint32_t own_column = HashIndex::none;
        for (std::uint64_t k = matrix_.starts[row]; k < matrix_.starts[row + 1]; ++k) {
            const std::uint32_t j = matrix_.columns[k];
            if (idf_[j] == 0) continue;
            const double x = static_cast<double>(matrix_.values[k]);
            square += x * x * idf_[j] * idf_[j];
            if (texts_[j] == 1 && (own_column == HashIndex::none || own_column == column_[j])) {
                own_column = column_[j];
                own += x * static_cast<double>(share_[j]);
                continue;
            }
            columns_.push_back(column_[j]);
            values_.push_back(matrix_.values[k] * share_[j]);
        }
        if (own_column != HashIndex::none) {
            columns_.push_back(own_column);
            values_.push_back(static_cast<float>(own));
        }
        starts_.push_back(columns_.size());
        row_scale_.push_back(square > 0 ? static_cast<float>(1 / std::sqrt(square)) : 0.0f);
    }
}

}  // namespace ulmpi
