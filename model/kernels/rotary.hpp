#pragma once
// Rotary position embedding (Su et al. 2021), pairs (i, i + d/2) of a head.

#include <cstddef>
#include <vector>

#include "model/real.hpp"

namespace ulmpi {

/// cos and sin of position base^(-2i/d) for i < d/2, computed once in double; read by any number of threads.
class RotaryTable {
public:
    /// head_size is even.
    RotaryTable(std::size_t positions, std::size_t head_size, double base = 10000);
    std::size_t positions() const { return positions_; }
    std::size_t head_size() const { return 2 * half_; }
    const Real* cosines(std::size_t position) const { return values_.data() + 2 * half_ * position; }
    const Real* sines(std::size_t position) const { return cosines(position) + half_; }

private:
    std::size_t positions_, half_;
    std::vector<Real> values_;
};

/// In place, for rows r and heads h with x_i = x[r * stride + h * head_size + i] and c, s of position first_position +
/// r: (x_i, x_{i+d/2}) <- (x_i c - x_{i+d/2} s, x_{i+d/2} c + x_i s).
void rotary_forward(Real* x, const RotaryTable& table, std::size_t first_position, std::size_t rows, std::size_t heads,
                    std::size_t stride);
/// The inverse rotation, which is the transpose: backward.
void rotary_backward(Real* dx, const RotaryTable& table, std::size_t first_position, std::size_t rows,
                     std::size_t heads, std::size_t stride);

}  // namespace ulmpi
