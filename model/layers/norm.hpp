#pragma once
// Layer or root-mean-square normalisation of rows. Every slice holds the parameters whole.

#include <string>

#include "model/config.hpp"
#include "model/context.hpp"
#include "model/parameters.hpp"

namespace ulmpi {

class Norm {
public:
    Norm(ParameterStore& store, const std::string& name, std::size_t width, const ModelConfig& config, int group,
         bool first_slice);

    /// Room for what forward keeps of each row, mean and reciprocal deviation: (2, rows).
    static View<Real> statistics(Arena& arena, std::size_t rows) { return arena.allocate({2, rows}); }
    /// The room that backward takes.
    void plan_backward(Rooms& rooms) const;
    /// This worker's rows: y = norm(x). y: its rows alone (rows.size(), width); x and statistics: all rows.
    void forward(View<Real> y, View<Real> statistics, View<const Real> x, Range rows) const;
    /// y once more, the same bits.
    void apply(View<Real> y, View<const Real> statistics, View<const Real> x, Range rows) const;
    /// All workers: dx = gradient through the norm (added to dx if asked), and the parameters' gradients. All rows'
    /// views, each worker writes its own. dx may be dy when it is not added to.
    void backward(View<Real> dx, View<const Real> dy, View<const Real> statistics, View<const Real> x, bool add_to_dx,
                  Context& context) const;

private:
    /// Of each worker the sums over its rows: of the weight's gradient, and of the bias's.
    View<Real> partials(Rooms& rooms) const { return rooms.shared.allocate({rooms.workers, 2 * width_}); }
    ParameterStore& store_;
    std::size_t width_;
    Normalization kind_;
    Real eps_;
    int group_;
    ParameterId weight_, bias_{};
};

}  // namespace ulmpi
