#pragma once
// y = x W^T + b.    x: (rows, in)   W: (out, in)   y: (rows, out)

#include <string>

#include "model/context.hpp"
#include "model/kernels/matrix.hpp"
#include "model/parameters.hpp"

namespace ulmpi {

/// How a linear layer is made. `out` and `in` are the sizes of the whole matrix; `slicing` says which part is here:
/// rows of W (axis 0: column-parallel, each slice computes some outputs) or columns (axis 1: row-parallel, each slice
/// computes a partial sum of all outputs). The bias follows the rows; a row-parallel layer holds all of it.
struct LinearOptions {
    std::string name;
    std::size_t out = 0, in = 0;
    Slicing slicing;
    bool bias = true;
    int group = 0;
    double deviation = 0.02;
    int stacked = 1;          ///< matrices in it, one upon the other
    bool first_slice = true;  ///< this rank counts what all slices hold alike
};

class Linear {
public:
    Linear(ParameterStore& store, const LinearOptions& options);

    /// This worker's rows: y = x W^T (+ b, except of a row-parallel layer, where it follows the sum over slices).
    void forward(Matrix<Real> y, const Factor& x) const;
    /// y += b, for a row-parallel layer.
    void add_bias_to(View<Real> y) const;
    /// This worker's rows: dx = dy W (+ dx).
    void backward_input(Matrix<Real> dx, const Factor& dy, bool add = false) const;
    /// This worker's part of the outputs, all rows: dW += dy^T x, db += column sums of dy, which is given in full and
    /// as a factor. Every worker's rows must be complete (a barrier before); dy stays until all are done (one after),
    /// its factor and x as long as Context::make may wait: Rooms has room for them.
    void backward_weights(View<const Real> dy, const Factor& dy_factor, const Factor& x, const Context& context) const;

private:
    ParameterStore& store_;
    ParameterId weight_, bias_{};
    bool has_bias_, row_parallel_;
    int group_;
};

}  // namespace ulmpi
