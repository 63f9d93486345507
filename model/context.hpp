#pragma once
// What one worker knows while a micro-batch goes through the layers.

#include <cstdint>
#include <span>
#include <vector>

#include "base/micro_batch.hpp"
#include "model/kernels/attention.hpp"
#include "model/kernels/dropout.hpp"
#include "model/real.hpp"
#include "model/rooms.hpp"
#include "model/tensor.hpp"
#include "parallel/communicator.hpp"
#include "parallel/team.hpp"
#include "parallel/tensor_parallel.hpp"

namespace ulmpi {

class CarriedStates;

/// Where masks come from that are the same at every position (variational dropout, Gal & Ghahramani 2016) or for every
/// sequence: from Philox, or from a test.
class MaskRows {
public:
    virtual ~MaskRows() = default;
    /// mask / (1 - p) of columns first, first + 1, … of a row of the site, n of them; `first` is a multiple of 8.
    virtual void factors(Real* factors, const DropoutSite& site, std::uint32_t row, std::size_t first,
                         std::size_t n) const {
        dropout_factors(factors, site, row, 0, static_cast<std::uint32_t>(first / 8), n);
    }
};

/// What is the same for all micro-batches of a pass.
struct PassOptions {
    bool training = true;          ///< dropout on, and what backward needs is kept
    std::uint64_t random_key = 0;  ///< from (seed, step)
    double loss_scale = 1;  ///< derivative of the total by the loss of one target: 1 / targets of the global batch
    std::size_t global_sequences = 1;  ///< sequences of the global batch: a micro-batch counts by its share
    std::vector<float> class_weights;  ///< classifiers: factor on the loss of each class; empty: 1
    double label_smoothing = 0;        ///< share of the target that all classes, or tokens, have alike
    int first_trained_group = 0;       ///< groups below are frozen
    bool predict = false;              ///< ask the head for scores instead of a loss
    CarriedStates* states = nullptr;   ///< that windows begin with, and leave; none: they begin with zeros
    const MaskRows* masks = nullptr;   ///< none: Philox's
};

/// One worker's view of one micro-batch on its way: where it takes room, which randomness it draws. Workers run the
/// same layers side by side: each writes its own rows of shared tensors, and they meet at a barrier before one reads
/// what another wrote.
struct Context : Rooms {
    const Team& team;
    const Communicator& tensor;  ///< the slices of this stage
    int slices = 1;              ///< their number
    const MicroBatch& batch;
    const PassOptions& options;
    /// Which keys a row sees of its own sequence; empty: those up to itself.
    std::span<const KeyRange> keys;
    /// The same of a row of the sources; and which of the sources a row of the inputs sees.
    std::span<const KeyRange> source_keys = {}, memory_keys = {};

    /// dW += dy^T x, of this worker's outputs; its factors stay where they are.
    struct WeightProduct {
        Matrix<Real> dw;
        Factor dy, x;
        void operator()() const { matmul_tn(dw, dy, x, true); }
    };
    /// Where products wait for a pass of their own; null: they are made at once.
    std::vector<WeightProduct>* later = nullptr;

    double loss = 0;  ///< sum of the losses of this worker's rows

    void turn() {
        Rooms::turn();
        std::swap(keys, source_keys);
    }

    /// Where a module's forward began, and on what.
    struct Beginning {
        const void* module;
        std::size_t kept;
        View<Real> input;
    };
    std::vector<Beginning> beginnings = {};

    /// Forward of `module` begins: what it keeps lies from here on.
    void begin(const void* module, View<Real> input = {}) { beginnings.push_back({module, kept.mark(), input}); }
    const Beginning& beginning(const void* module) const;
    /// The kept room as it was then, and no other: by taking what it keeps once more, a module finds what it has kept.
    Rooms again(const void* module) const;

    /// This worker's rows of x as a factor of products: x itself, or rounded into `room`.
    Factor own_factor(Matrix<const Real> x, View<BFloat16> room) const;
    /// The same of all rows, of which each worker rounds its own, `mine`, into the shared `room`. Behind a barrier the
    /// other workers' rows are there too.
    Factor shared_factor(View<const Real> x, View<BFloat16> room, Range mine) const;
    Factor shared_factor(View<const Real> x, View<BFloat16> room) const { return shared_factor(x, room, rows); }
    /// The same, of a product that gives gradients of weights.
    Factor shared_factor(View<const Real> x, const FactorRoom& room, Range mine) const;
    Factor shared_factor(View<const Real> x, const FactorRoom& room) const { return shared_factor(x, room, rows); }
    /// The same, but x itself is rounded: its rows begin with their rounded form from now on.
    Factor factor_in_place(View<Real> x, Range mine) const;

    /// This worker's rows have been computed: they are kept, and `values`, what open() gave, holds what is kept, so
    /// that forward goes on with the values that backward will see.
    void close(const Kept& what, View<Real> values) const;
    /// This worker's rows as they were kept, in the room that open() gave.
    View<const Real> kept_rows(const Kept& what, View<Real> room) const;

    /// True when every worker holds whole sequences, so that attention needs nobody else's rows.
    bool whole_sequences() const { return batch.sequences % static_cast<std::size_t>(team.size()) == 0; }
    void barrier_before_mixing_rows() const {
        if (!whole_sequences()) team.barrier();
    }
    void sum_over_slices(View<Real> partial) const { ulmpi::sum_over_slices(partial.flat(), tensor, slices, team); }
    void make(const WeightProduct& product) const {
        if (later != nullptr)
            later->push_back(product);
        else
            product();
    }
    bool trains(int group) const { return group >= options.first_trained_group; }
    DropoutSite site(std::uint32_t place, double probability) const {
        return {options.random_key, place, static_cast<Real>(options.training ? probability : 0)};
    }

    /// As MaskRows has them.
    void mask_row(Real* factors, const DropoutSite& site, std::uint32_t row, std::size_t first, std::size_t n) const {
        static const MaskRows by_philox;
        (options.masks != nullptr ? *options.masks : by_philox).factors(factors, site, row, first, n);
    }

    /// Calls f(sequence, first position, rows) for each run of this worker's rows within one sequence.
    template <typename F>
    void for_each_run(F f) const {
        for (std::size_t row = rows.first; row < rows.last;) {
            const std::size_t sequence = row / length, position = row % length;
            const std::size_t last = std::min(rows.last, (sequence + 1) * length);
            f(sequence, position, Range{row, last});
            row = last;
        }
    }
};

/// While it lives, Rooms or a Context look at the sources.
template <typename Looking>
class OnSources {
public:
    explicit OnSources(Looking& looking) : looking_(looking) { looking.turn(); }
    OnSources(const OnSources&) = delete;
    OnSources& operator=(const OnSources&) = delete;
    ~OnSources() { looking_.turn(); }

private:
    Looking& looking_;
};

/// y = dropout(x) on this worker's rows; y may be x.
void apply_dropout(View<Real> y, View<const Real> x, const DropoutSite& site, const Context& context);

}  // namespace ulmpi
