#pragma once
// Normalisation inside a classifier head: of each row by itself, or of each feature over the rows of the micro-batch.

#include <string>

#include "model/context.hpp"
#include "model/parameters.hpp"

namespace ulmpi {

enum class HeadNormKind { layernorm, batchnorm };
HeadNormKind head_norm_from(const std::string& name);  ///< UsageError naming --head-normalization and its values
std::string to_string(HeadNormKind);

/// LayerNorm (Ba et al. 2016), or BatchNorm (Ioffe & Szegedy 2015) with the statistics of the micro-batch in training
/// and running ones, moved once an update by the mean over the global batch's micro-batches, otherwise. Small: one
/// worker calls it for all rows.
class HeadNorm {
public:
    HeadNorm(ParameterStore& store, const std::string& name, std::size_t width, HeadNormKind kind, Real eps, int group,
             bool first_slice);
    /// Shape of what forward keeps for backward, for `rows` rows: mean and reciprocal deviation.
    Shape statistics(std::size_t rows) const;
    /// y = norm(x); y may be x. (rows, width)
    void forward(View<Real> y, View<Real> statistics, View<const Real> x, const PassOptions& options) const;
    /// dx = gradient through the norm in training; adds to the parameters' gradients. dx may be dy.
    void backward(View<Real> dx, View<const Real> dy, View<const Real> statistics, View<const Real> x) const;

private:
    void batch_statistics(View<Real> statistics, View<const Real> x, const PassOptions& options) const;
    ParameterStore& store_;
    std::size_t width_;
    HeadNormKind kind_;
    Real eps_;
    ParameterId weight_, bias_, running_mean_{}, running_variance_{};
};

}  // namespace ulmpi
