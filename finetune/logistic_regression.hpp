#pragma once
// Multinomial logistic regression on sparse rows, solved to convergence.

#include <cstdint>
#include <span>
#include <vector>

namespace ulmpi {

/// Row i holds `values` at `columns` from starts[i] to starts[i + 1].
struct SparseRows {
    std::span<const std::uint64_t> starts;
    std::span<const std::uint32_t> columns;
    std::span<const float> values;
};

/// Entries are scaled by row (a) and by column and class (s):
///
///   score_ic = b_c + a_i sum_j x_ij s_jc u_jc,    b = prior + e
///   f(u, e)  = sum_i w_{y_i} (log sum_c exp score_ic - score_{i y_i})  +  |u|^2 / 2C  +  |e|^2 / 2
///
/// The last term keeps the bias of a class without rows finite. f is strictly convex.
struct LogisticProblem {
    SparseRows x;
    std::span<const std::uint32_t> rows;    ///< those of x that are summed over
    std::span<const std::int32_t> labels;   ///< y, of all rows of x
    std::span<const float> row_scale;       ///< a, of all rows of x
    std::span<const float> column_scale;    ///< s: (columns, classes)
    std::span<const double> class_weights;  ///< w: (classes)
    std::span<const double> prior;          ///< (classes)
    double strength = 1;                    ///< C
};

/// The function f of v = (u, e), with u by (columns, classes).
class LogisticObjective {
public:
    /// What the problem points to must outlive this.
    explicit LogisticObjective(const LogisticProblem& problem);
    std::size_t size() const { return weights_.size() + classes_; }
    void set_strength(double strength) { problem_.strength = strength; }

    double evaluate(std::span<const double> v);
    /// At the v last evaluated: df/dv, and out = (d2f/dv2) d.
    void gradient(std::span<double> out, std::span<const double> v);
    void hessian_product(std::span<double> out, std::span<const double> d);
    /// The scores of any row of x at v; after `take`.
    void take(std::span<const double> v);
    void scores(std::span<double> out, std::size_t row) const;
    /// After `take`: s_jc u_jc, and b.
    std::span<const double> weights() const { return weights_; }
    std::span<const double> bias() const { return bias_; }

private:
    void add_rows(std::span<double> out, std::span<const double> per_row, std::span<const double> d);

    LogisticProblem problem_;
    std::size_t classes_;
    std::vector<double> weights_, bias_;  ///< s_jc u_jc; prior + e
    std::vector<double> probabilities_;   ///< (rows, classes)
    std::vector<double> per_row_;         ///< (rows, classes), scratch
};

struct NewtonReport {
    int steps = 0, products = 0;  ///< Newton's, and of the Hessian with a vector
    double gradient_norm = 0;
};

/// Newton's method from v; each step solves for its direction by conjugate gradients, as exactly as the gradient is
/// small, and is halved until f falls (Nocedal & Wright 2006, algorithm 7.1). Ends when the gradient's norm is
/// `tolerance` times that at 0.
NewtonReport minimise(LogisticObjective& objective, std::span<double> v, double tolerance);

}  // namespace ulmpi
