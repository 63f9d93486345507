#include "model/layers/linear.hpp"

#include "model/kernels/elementwise.hpp"
#include "model/kernels/gemm.hpp"

namespace ulmpi {

Linear::Linear(ParameterStore& store, const LinearOptions& o)
    : store_(store),
      weight_(store.declare({.name = o.name + ".weight",
                             .global = {o.out, o.in},
                             .local = {},
                             .slicing = o.slicing,
                             .init = Init::normal(o.deviation),
                             .group = o.group,
                             .counted = !o.slicing.whole() || o.first_slice})),
      has_bias_(o.bias),
      row_parallel_(!o.slicing.whole() && o.slicing.axis == 1),
      group_(o.group) {
    if (o.bias)
        bias_ = store.declare({.name = o.name + ".bias",
                               .global = {o.out},
                               .local = {},
                               .slicing = row_parallel_ ? Slicing{} : o.slicing,
                               .init = {},
                               .group = o.group,
                               .counted = (!o.slicing.whole() && !row_parallel_) || o.first_slice});
}

// y = x W^T + b
void Linear::forward(Matrix<Real> y, Matrix<const Real> x) const {
    matmul_nt(y, x, store_.value(weight_));
    if (has_bias_ && !row_parallel_) add_bias(y.data, store_.value(bias_).data, y.rows, y.columns);
}

void Linear::add_bias_to(View<Real> y) const {
    if (has_bias_ && row_parallel_) add_bias(y.data, store_.value(bias_).data, y.rows(), y.columns());
}

// dx = dy W
void Linear::backward_input(Matrix<Real> dx, Matrix<const Real> dy, bool add) const {
    matmul_nn(dx, dy, store_.value(weight_), 1, add ? Real(1) : Real(0));
}

// dW += dy^T x,  db += 1^T dy
void Linear::backward_weights(View<const Real> dy, View<const Real> x, const Context& context) const {
    if (!context.trains(group_)) return;
    const View<Real> dw = store_.gradient(weight_);
    const Range outputs = context.team.share(dw.rows());
    const Matrix<const Real> dy_part = Matrix<const Real>(dy).column_range(outputs);
    matmul_tn(Matrix<Real>(dw).row_range(outputs), dy_part, x, 1, 1);
    if (has_bias_) add_column_sums(store_.gradient(bias_).data + outputs.first, dy_part);
}

}  // namespace ulmpi
