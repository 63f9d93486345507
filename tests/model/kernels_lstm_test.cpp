#include "model/kernels/lstm.hpp"

#include "tests/reference/kernel_test.hpp"

namespace ulmpi::reference {
namespace {

class LstmKernels : public OnEveryTarget {};
ULMPI_ON_EVERY_TARGET(LstmKernels);

Wide sigmoid(Wide x) { return 1 / (1 + std::exp(-x)); }

/// Gates one upon the other, and the cell before.
struct Row {
    explicit Row(std::size_t n, unsigned seed) : gates(values(4 * n, seed)), before(values(n, seed + 1)), c(n), h(n) {}
    LstmGates pointers() {
        const std::size_t n = before.size();
        return {gates.data(), gates.data() + n, gates.data() + 2 * n, gates.data() + 3 * n};
    }
    void forward() { lstm_forward(pointers(), c.data(), h.data(), before.data(), before.size()); }
    Reals gates, before, c, h;
};

TEST_P(LstmKernels, ForwardMatchesDefinition) {
    for (std::size_t n : sizes()) {
        Row row(n, 1);
        Reals c(n), h(n), gates(4 * n);
        for (std::size_t j = 0; j < n; ++j) {
            const Wide i = sigmoid(row.gates[j]), f = sigmoid(row.gates[n + j]),
                       g = std::tanh(Wide{row.gates[2 * n + j]}), o = sigmoid(row.gates[3 * n + j]),
                       cell = f * row.before[j] + i * g;
            gates[j] = static_cast<Real>(i);
            gates[n + j] = static_cast<Real>(f);
            gates[2 * n + j] = static_cast<Real>(g);
            gates[3 * n + j] = static_cast<Real>(o);
            c[j] = static_cast<Real>(cell);
            h[j] = static_cast<Real>(o * std::tanh(cell));
        }
        row.forward();
        expect_close(row.gates, gates, "gates");
        expect_close(row.c, c, "c");
        expect_close(row.h, h, "h");
    }
}

TEST_P(LstmKernels, BackwardMatchesCentralDifferences) {
    if (!is_double) GTEST_SKIP() << "in double alone";
    constexpr std::size_t n = 19;
    Row row(n, 3);
    const Reals dh = values(n, 7), dc = values(n, 8);
    const auto loss = [&] {
        Row copy = row;
        copy.forward();
        return dot(copy.h, dh) + dot(copy.c, dc);
    };
    const Reals by_gates = central_differences(row.gates, loss), by_before = central_differences(row.before, loss);
    Row done = row;
    done.forward();
    Reals carried = dc;
    lstm_backward(done.pointers(), carried.data(), dh.data(), done.c.data(), done.before.data(), n);
    expect_gradient(done.gates, by_gates, "gates");
    expect_gradient(carried, by_before, "the cell before");
}

}  // namespace
}  // namespace ulmpi::reference
