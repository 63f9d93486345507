#include "model/layers/regularization.hpp"

#include "model/kernels/elementwise.hpp"

namespace ulmpi {

// A loss counts once a position, options.loss_scale being 1 / positions of the global batch: the mean of x² over
// positions and columns is the sum of x² / width, counted like that.
void ActivationRegularization::forward(Flow& flow, Context& context) const {
    const View<Real> x = flow[Lane::hidden];
    context.begin(this, x);
    if (!context.options.training) return;
    const Range mine = context.rows;
    context.loss += weight_ / static_cast<double>(width_) * sum_of_squares(x.row(mine.first), mine.size() * width_);
}

// dx += 2 weight x / width
void ActivationRegularization::backward(Flow& gradient, Context& context) const {
    const View<const Real> x = context.beginning(this).input;
    const View<Real> dx = gradient[Lane::hidden];
    const Range mine = context.rows;
    const auto factor = static_cast<Real>(2 * weight_ / static_cast<double>(width_) * context.options.loss_scale);
    for (std::size_t i = mine.first * width_; i < mine.last * width_; ++i) dx.data[i] += factor * x.data[i];
}

// T positions have T - 1 differences.
double TemporalRegularization::factor(const Context& context) const {
    const auto positions = static_cast<double>(context.length);
    return context.length < 2 ? 0 : weight_ / static_cast<double>(width_) * positions / (positions - 1);
}

void TemporalRegularization::forward(Flow& flow, Context& context) const {
    const View<Real> x = flow[Lane::hidden];
    context.begin(this, x);
    if (!context.options.training) return;
    context.barrier_before_mixing_rows();
    double sum = 0;
    for (std::size_t row = context.rows.first; row < context.rows.last; ++row) {
        if (row % context.length == 0) continue;
        for (std::size_t j = 0; j < width_; ++j) {
            const double step = static_cast<double>(x.row(row)[j]) - static_cast<double>(x.row(row - 1)[j]);
            sum += step * step;
        }
    }
    context.loss += factor(context) * sum;
}

// dx_t += 2 factor ((x_t - x_{t-1}) - (x_{t+1} - x_t)), of which the ends have one each.
void TemporalRegularization::backward(Flow& gradient, Context& context) const {
    const View<const Real> x = context.beginning(this).input;
    const View<Real> dx = gradient[Lane::hidden];
    const auto twice = static_cast<Real>(2 * factor(context) * context.options.loss_scale);
    for (std::size_t row = context.rows.first; row < context.rows.last; ++row) {
        const std::size_t t = row % context.length;
        const Real* const here = x.row(row);
        for (std::size_t j = 0; j < width_; ++j) {
            const Real from = t == 0 ? Real(0) : here[j] - x.row(row - 1)[j];
            const Real to = t + 1 == context.length ? Real(0) : x.row(row + 1)[j] - here[j];
            dx.row(row)[j] += twice * (from - to);
        }
    }
}

}  // namespace ulmpi
