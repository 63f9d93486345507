#include "model/context.hpp"

namespace ulmpi {

void apply_dropout(View<Real> y, View<const Real> x, const DropoutSite& site, const Context& context) {
    context.for_each_run([&](std::size_t sequence, std::size_t position, Range rows) {
        dropout(y.row(rows.first), x.row(rows.first), site,
                context.batch.first_sequence + static_cast<std::uint32_t>(sequence),
                static_cast<std::uint32_t>(position), rows.size(), y.columns());
    });
}

}  // namespace ulmpi
