#pragma once
// How a set of labelled rows weighs its n-grams: the regression that a linear model solves.

#include <cstdint>
#include <span>
#include <vector>

#include "finetune/logistic_regression.hpp"
#include "finetune/word_features.hpp"

namespace ulmpi {

/// TF-IDF weighted by naive Bayes' log-count ratios. `rows` are those that are trained on; only they decide on
///
///   idf_j = log((1 + rows) / (1 + texts_j)) + 1
///   r_jc  = log(p_jc / sum_j p_jc) - log(q_jc / sum_j q_jc)      (Wang & Manning 2012)
///   s_jc  = idf_j sqrt((1 + emphasis r_jc^2) / its mean over j, c)
///
/// where p_jc - 1 and q_jc - 1 count the texts with n-gram j of class c and of the others. The weights s_jc u_jc of
/// n-grams that tell classes apart by themselves are thereby held back less; rows have the norm sum_j (x_ij idf_j)^2.
///
/// In many small sets most n-grams occur in one row alone. Those of row i have one and the same s_c, and at the minimum
/// u_jc = x_ij / X_i h_ic with X_i^2 = sum of their x_ij^2. So they are one column, of value X_i and weights h_i.
class LinearProblem {
public:
    /// What is passed in must outlive this.
    LinearProblem(const WordMatrix& matrix, std::span<const std::int32_t> labels, std::size_t classes,
                  std::span<const double> class_weights, std::span<const std::uint32_t> rows, double emphasis);

    LogisticProblem regression() const;
    std::span<const std::uint32_t> texts() const { return texts_; }
    std::span<const double> prior() const { return prior_; }
    /// The weight of the matrix's column j for class c, without s_j's factor idf_j, from those of the regression.
    double weight(std::size_t j, std::size_t c, std::span<const double> weights) const {
        return idf_[j] == 0 ? 0 : share_[j] * weights[column_[j] * classes_ + c] / idf_[j];
    }

private:
    void count_texts();
    void number_columns();
    void scale_columns(double emphasis);
    void scale_rows();

    const WordMatrix& matrix_;
    std::span<const std::int32_t> labels_;
    std::size_t classes_;
    std::span<const double> class_weights_;
    std::span<const std::uint32_t> rows_;

    // By column of the matrix.
    std::vector<std::uint32_t> counts_;  ///< texts of each class that have it: (width, classes)
    std::vector<std::uint32_t> texts_;   ///< of all classes
    std::vector<double> idf_;            ///< 0: too few have it
    std::vector<std::uint32_t> column_;  ///< of the regression
    std::vector<float> share_;           ///< of that column: 1, or x_ij / X_i

    // The regression, by rows of the matrix.
    std::size_t width_ = 0;
    std::vector<std::uint64_t> starts_;
    std::vector<std::uint32_t> columns_;
    std::vector<float> values_, row_scale_, column_scale_;
    std::vector<double> prior_;
};

}  // namespace ulmpi
