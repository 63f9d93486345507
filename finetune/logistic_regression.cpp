#include "finetune/logistic_regression.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace ulmpi {
namespace {

double dot(std::span<const double> a, std::span<const double> b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

/// y += factor x
void add_scaled(std::span<double> y, double factor, std::span<const double> x) {
    for (std::size_t i = 0; i < y.size(); ++i) y[i] += factor * x[i];
}

/// out_c += factor sum_j x_ij w_jc of one row. `fixed`: the number of classes, if it is known beforehand, or 0.
template <std::size_t fixed>
void add_row_times(double* out, const SparseRows& x, std::size_t row, const double* w, double factor, std::size_t n) {
    const std::size_t classes = fixed != 0 ? fixed : n;
    for (std::uint64_t k = x.starts[row]; k < x.starts[row + 1]; ++k) {
        const double value = factor * static_cast<double>(x.values[k]);
        const double* from = w + x.columns[k] * classes;
        for (std::size_t c = 0; c < classes; ++c) out[c] += value * from[c];
    }
}

/// g_jc += factor x_ij r_c of one row.
template <std::size_t fixed>
void add_transposed_row(double* g, const SparseRows& x, std::size_t row, const double* r, double factor,
                        std::size_t n) {
    const std::size_t classes = fixed != 0 ? fixed : n;
    for (std::uint64_t k = x.starts[row]; k < x.starts[row + 1]; ++k) {
        const double value = factor * static_cast<double>(x.values[k]);
        double* to = g + x.columns[k] * classes;
        for (std::size_t c = 0; c < classes; ++c) to[c] += value * r[c];
    }
}

void add_row_times(double* out, const SparseRows& x, std::size_t row, const double* w, double factor, std::size_t n) {
    n == 2 ? add_row_times<2>(out, x, row, w, factor, n) : add_row_times<0>(out, x, row, w, factor, n);
}
void add_transposed_row(double* g, const SparseRows& x, std::size_t row, const double* r, double factor,
                        std::size_t n) {
    n == 2 ? add_transposed_row<2>(g, x, row, r, factor, n) : add_transposed_row<0>(g, x, row, r, factor, n);
}

}  // namespace

LogisticObjective::LogisticObjective(const LogisticProblem& problem)
    : problem_(problem),
      classes_(problem.prior.size()),
      weights_(problem.column_scale.size()),
      bias_(classes_),
      probabilities_(problem.rows.size() * classes_),
      per_row_(problem.rows.size() * classes_) {}

void LogisticObjective::take(std::span<const double> v) {
    for (std::size_t i = 0; i < weights_.size(); ++i)
        weights_[i] = static_cast<double>(problem_.column_scale[i]) * v[i];
    for (std::size_t c = 0; c < classes_; ++c) bias_[c] = problem_.prior[c] + v[weights_.size() + c];
}

void LogisticObjective::scores(std::span<double> out, std::size_t row) const {
    std::copy(bias_.begin(), bias_.end(), out.begin());
    add_row_times(out.data(), problem_.x, row, weights_.data(), static_cast<double>(problem_.row_scale[row]), classes_);
}

double LogisticObjective::evaluate(std::span<const double> v) {
    take(v);
    double value = 0;
    for (std::size_t i = 0; i < problem_.rows.size(); ++i) {
        const std::size_t row = problem_.rows[i];
        const std::span<double> p = std::span(probabilities_).subspan(i * classes_, classes_);
        scores(p, row);
        const auto label = static_cast<std::size_t>(problem_.labels[row]);
        const double maximum = std::ranges::max(p), target = p[label];
        double sum = 0;
        for (double& score : p) sum += score = std::exp(score - maximum);
        for (double& score : p) score /= sum;
        value += problem_.class_weights[label] * (std::log(sum) + maximum - target);
    }
    const std::span<const double> u = v.first(weights_.size()), e = v.subspan(weights_.size());
    return value + dot(u, u) / (2 * problem_.strength) + dot(e, e) / 2;
}

// out = (s * sum_i a_i x_i^T r_i + d_u / C,  sum_i r_i + d_e)
void LogisticObjective::add_rows(std::span<double> out, std::span<const double> per_row, std::span<const double> d) {
    std::fill(out.begin(), out.end(), 0.0);
    double* bias = out.data() + weights_.size();
    for (std::size_t i = 0; i < problem_.rows.size(); ++i) {
        const std::size_t row = problem_.rows[i];
        const double* r = per_row.data() + i * classes_;
        add_transposed_row(out.data(), problem_.x, row, r, static_cast<double>(problem_.row_scale[row]), classes_);
        for (std::size_t c = 0; c < classes_; ++c) bias[c] += r[c];
    }
    for (std::size_t j = 0; j < weights_.size(); ++j)
        out[j] = static_cast<double>(problem_.column_scale[j]) * out[j] + d[j] / problem_.strength;
    for (std::size_t c = 0; c < classes_; ++c) bias[c] += d[weights_.size() + c];
}

// r_i = w (p_i - onehot(y_i))
void LogisticObjective::gradient(std::span<double> out, std::span<const double> v) {
    for (std::size_t i = 0; i < problem_.rows.size(); ++i) {
        const auto label = static_cast<std::size_t>(problem_.labels[problem_.rows[i]]);
        for (std::size_t c = 0; c < classes_; ++c)
            per_row_[i * classes_ + c] =
                problem_.class_weights[label] * (probabilities_[i * classes_ + c] - (c == label ? 1 : 0));
    }
    add_rows(out, per_row_, v);
}

// z_i = a_i x_i (s * d_u) + d_e,   r_i = w (p_i * z_i - p_i (p_i . z_i))
void LogisticObjective::hessian_product(std::span<double> out, std::span<const double> d) {
    for (std::size_t j = 0; j < weights_.size(); ++j)
        weights_[j] = static_cast<double>(problem_.column_scale[j]) * d[j];
    for (std::size_t i = 0; i < problem_.rows.size(); ++i) {
        const std::size_t row = problem_.rows[i];
        const double* p = probabilities_.data() + i * classes_;
        double* r = per_row_.data() + i * classes_;
        std::copy_n(d.data() + weights_.size(), classes_, r);
        add_row_times(r, problem_.x, row, weights_.data(), static_cast<double>(problem_.row_scale[row]), classes_);
        const double mean = std::inner_product(p, p + classes_, r, 0.0);
        const double weight = problem_.class_weights[static_cast<std::size_t>(problem_.labels[row])];
        for (std::size_t c = 0; c < classes_; ++c) r[c] = weight * p[c] * (r[c] - mean);
    }
    add_rows(out, per_row_, d);
}

namespace {

/// p with |H p + g| <= accuracy |g|, by conjugate gradients from 0.
int solve_newton_step(std::span<double> p, LogisticObjective& objective, std::span<const double> g, double accuracy) {
    constexpr int most_products = 200;
    std::fill(p.begin(), p.end(), 0.0);
    std::vector<double> residual(g.size()), direction(g.size()), product(g.size());
    for (std::size_t i = 0; i < g.size(); ++i) direction[i] = residual[i] = -g[i];
    double square = dot(residual, residual);
    const double enough = accuracy * accuracy * square;
    int products = 0;
    while (square > enough && products < most_products) {
        objective.hessian_product(product, direction);
        ++products;
        const double along = square / dot(direction, product);
        add_scaled(p, along, direction);
        add_scaled(residual, -along, product);
        const double next = dot(residual, residual);
        for (std::size_t i = 0; i < g.size(); ++i) direction[i] = residual[i] + next / square * direction[i];
        square = next;
    }
    return products;
}

}  // namespace

NewtonReport minimise(LogisticObjective& objective, std::span<double> v, double tolerance) {
    constexpr int most_steps = 100, most_halvings = 40;
    NewtonReport report;
    std::vector<double> g(v.size()), p(v.size()), tried(v.size(), 0.0);
    objective.evaluate(tried);
    objective.gradient(g, tried);
    const double norm_at_zero = std::sqrt(dot(g, g));
    double value = objective.evaluate(v);
    objective.gradient(g, v);
    report.gradient_norm = std::sqrt(dot(g, g));
    while (report.gradient_norm > tolerance * norm_at_zero && report.steps < most_steps) {
        const double accuracy = std::min(0.3, std::sqrt(report.gradient_norm / norm_at_zero));
        report.products += solve_newton_step(p, objective, g, accuracy);
        const double slope = dot(g, p);
        const double rounding = 1e-14 * std::abs(value);
        double length = 1, next = 0;
        for (int halving = 0; halving < most_halvings; ++halving, length /= 2) {
            for (std::size_t i = 0; i < v.size(); ++i) tried[i] = v[i] + length * p[i];
            next = objective.evaluate(tried);
            if (next <= value + 1e-4 * length * slope + rounding) break;
        }
        std::copy(tried.begin(), tried.end(), v.begin());
        value = next;
        objective.gradient(g, v);
        report.gradient_norm = std::sqrt(dot(g, g));
        ++report.steps;
    }
    return report;
}

}  // namespace ulmpi
