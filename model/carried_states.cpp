#include "model/carried_states.hpp"

#include <algorithm>

namespace ulmpi {

CarriedStates::CarriedStates(const std::vector<StateShape>& shapes, std::size_t streams)
    : tensors_(planned(shapes, streams)) {
    tensors_.allocate(true);
}

ParameterStore CarriedStates::planned(const std::vector<StateShape>& shapes, std::size_t streams) {
    ParameterStore store;
    for (const StateShape& shape : shapes)
        store.declare({.name = shape.name,
                       .global = {streams, shape.width},
                       .local = {},
                       .slicing = shape.slicing,
                       .init = {},
                       .counted = shape.counted});
    return store;
}

void CarriedStates::advance() { std::ranges::copy(tensors_.gradients(), tensors_.values().begin()); }

void CarriedStates::share(Range mine, const Communicator& data) {
    for (std::size_t id = 0; id < tensors_.parameters().size(); ++id) {
        const View<Real> state = at(static_cast<StateId>(id), Turn::before);
        std::fill_n(state.data, mine.first * state.columns(), Real(0));
        std::fill_n(state.row(mine.last), (state.rows() - mine.last) * state.columns(), Real(0));
    }
    data.all_reduce_sum(tensors_.values());
}

}  // namespace ulmpi
