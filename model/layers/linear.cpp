#include "model/layers/linear.hpp"

#include "model/kernels/elementwise.hpp"

namespace ulmpi {

Linear::Linear(ParameterStore& store, const LinearOptions& o)
    : store_(store),
      weight_(store.declare({.name = o.name + ".weight",
                             .global = {o.out, o.in},
                             .local = {},
                             .slicing = o.slicing,
                             .init = Init::normal(o.deviation),
                             .group = o.group,
                             .counted = !o.slicing.whole() || o.first_slice,
                             .stacked = o.stacked})),
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
void Linear::forward(Matrix<Real> y, const Factor& x) const {
    matmul_nt(y, x, store_.factor(weight_));
    if (has_bias_ && !row_parallel_) add_bias(y.data, store_.value(bias_).data, y.rows, y.columns);
}

void Linear::add_bias_to(View<Real> y) const {
    if (has_bias_ && row_parallel_) add_bias(y.data, store_.value(bias_).data, y.rows(), y.columns());
}

// dx = dy W
void Linear::backward_input(Matrix<Real> dx, const Factor& dy, bool add) const {
    matmul_nn(dx, dy, store_.factor(weight_), add);
}

// dW += dy^T x,  db += 1^T dy
void Linear::backward_weights(View<const Real> dy, const Factor& dy_factor, const Factor& x,
                              const Context& context) const {
    if (!context.trains(group_)) return;
    const View<Real> dw = store_.gradient(weight_);
    const Range outputs = context.team.share(dw.rows());
    context.make({Matrix<Real>(dw).row_range(outputs), dy_factor.column_range(outputs), x});
    if (has_bias_)
        add_column_sums(store_.gradient(bias_).data + outputs.first, Matrix<const Real>(dy).column_range(outputs));
}

}  // namespace ulmpi
