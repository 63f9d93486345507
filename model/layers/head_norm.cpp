#include "model/layers/head_norm.hpp"

#include <algorithm>
#include <cmath>

#include "model/kernels/norm.hpp"

namespace ulmpi {

HeadNormKind head_norm_from(const std::string& name) {
    if (name == "layernorm") return HeadNormKind::layernorm;
    if (name == "batchnorm") return HeadNormKind::batchnorm;
    throw UsageError("--head-normalization " + name + " is unknown: choose layernorm or batchnorm");
}

std::string to_string(HeadNormKind kind) { return kind == HeadNormKind::layernorm ? "layernorm" : "batchnorm"; }

HeadNorm::HeadNorm(ParameterStore& store, const std::string& name, std::size_t width, HeadNormKind kind, Real eps,
                   int group, bool first_slice)
    : store_(store), width_(width), kind_(kind), eps_(eps) {
    const auto declare = [&](const char* part, Init init, bool statistic) {
        return store.declare({.name = name + part,
                              .global = {width},
                              .local = {},
                              .slicing = {},
                              .init = init,
                              .group = group,
                              .counted = first_slice,
                              .statistic = statistic});
    };
    weight_ = declare(".weight", Init::one(), false);
    bias_ = declare(".bias", {}, false);
    if (kind == HeadNormKind::batchnorm) {
        running_mean_ = declare(".running_mean", {}, true);
        running_variance_ = declare(".running_variance", Init::one(), true);
    }
}

Shape HeadNorm::statistics(std::size_t rows) const { return {2, kind_ == HeadNormKind::layernorm ? rows : width_}; }

// mean_c = sum_r x_rc / n,  var_c = sum_r (x_rc - mean_c)^2 / n;  the running variance sees n / (n - 1) of it
void HeadNorm::batch_statistics(View<Real> statistics, View<const Real> x, const PassOptions& options) const {
    const auto n = static_cast<Real>(x.rows());
    const Real share = n / static_cast<Real>(options.global_sequences);
    for (std::size_t c = 0; c < width_; ++c) {
        Real mean = 0, squares = 0;
        for (std::size_t r = 0; r < x.rows(); ++r) mean += x.row(r)[c];
        mean /= n;
        for (std::size_t r = 0; r < x.rows(); ++r) squares += (x.row(r)[c] - mean) * (x.row(r)[c] - mean);
        statistics.row(0)[c] = mean;
        statistics.row(1)[c] = Real(1) / std::sqrt(squares / n + eps_);
        store_.gradient(running_mean_).data[c] += share * mean;
        store_.gradient(running_variance_).data[c] += share * squares / std::max(n - 1, Real(1));
    }
}

// y = (x - mean) rstd weight + bias
void HeadNorm::forward(View<Real> y, View<Real> statistics, View<const Real> x, const PassOptions& options) const {
    const Real* weight = store_.value(weight_).data;
    const Real* bias = store_.value(bias_).data;
    Real* mean = statistics.row(0);
    Real* rstd = statistics.row(1);
    if (kind_ == HeadNormKind::layernorm)
        return layer_norm_forward(y.data, mean, rstd, x.data, weight, bias, x.rows(), width_, eps_);
    if (options.training) {
        batch_statistics(statistics, x, options);
    } else {
        std::copy_n(store_.value(running_mean_).data, width_, mean);
        for (std::size_t c = 0; c < width_; ++c)
            rstd[c] = Real(1) / std::sqrt(store_.value(running_variance_).data[c] + eps_);
    }
    for (std::size_t r = 0; r < x.rows(); ++r)
        for (std::size_t c = 0; c < width_; ++c) y.row(r)[c] = (x.row(r)[c] - mean[c]) * rstd[c] * weight[c] + bias[c];
}

// With z = (x - mean) rstd and sums over the rows of the micro-batch:
//   dweight += sum dy z,  dbias += sum dy,  dx = weight rstd (dy - sum dy / n - z sum(dy z) / n)
void HeadNorm::backward(View<Real> dx, View<const Real> dy, View<const Real> statistics, View<const Real> x) const {
    const Real* weight = store_.value(weight_).data;
    Real* dweight = store_.gradient(weight_).data;
    Real* dbias = store_.gradient(bias_).data;
    const Real* mean = statistics.row(0);
    const Real* rstd = statistics.row(1);
    if (kind_ == HeadNormKind::layernorm)
        return layer_norm_backward(dx.data, dweight, dbias, dy.data, x.data, mean, rstd, weight, x.rows(), width_,
                                   false);
    const auto n = static_cast<Real>(x.rows());
    for (std::size_t c = 0; c < width_; ++c) {
        Real sum = 0, product = 0;
        const auto z = [&](std::size_t r) { return (x.row(r)[c] - mean[c]) * rstd[c]; };
        for (std::size_t r = 0; r < x.rows(); ++r) {
            sum += dy.row(r)[c];
            product += dy.row(r)[c] * z(r);
        }
        dweight[c] += product;
        dbias[c] += sum;
        for (std::size_t r = 0; r < x.rows(); ++r)
            dx.row(r)[c] = weight[c] * rstd[c] * (dy.row(r)[c] - sum / n - z(r) * product / n);
    }
}

}  // namespace ulmpi
