#pragma once
// What one worker knows while a micro-batch goes through the layers.

#include <cstdint>
#include <span>
#include <vector>

#include "base/micro_batch.hpp"
#include "model/arena.hpp"
#include "model/kernels/dropout.hpp"
#include "model/kernels/factor.hpp"
#include "model/real.hpp"
#include "model/tensor.hpp"
#include "parallel/communicator.hpp"
#include "parallel/team.hpp"
#include "parallel/tensor_parallel.hpp"

namespace ulmpi {

/// What is the same for all micro-batches of a pass.
struct PassOptions {
    bool training = true;          ///< dropout on, and what backward needs is kept
    std::uint64_t random_key = 0;  ///< from (seed, step)
    double loss_scale = 1;  ///< derivative of the total by the loss of one target: 1 / targets of the global batch
    std::size_t global_sequences = 1;  ///< sequences of the global batch: a micro-batch counts by its share
    std::vector<float> class_weights;  ///< classifiers: factor on the loss of each class; empty: 1
    double label_smoothing = 0;        ///< classifiers: share of the target that all classes have alike
    int first_trained_group = 0;       ///< groups below are frozen
    bool predict = false;              ///< ask the head for scores instead of a loss
};

/// What forward keeps of a tensor: its values, or, where products take rounded factors, the rounded values alone in
/// half the room. Of either, one is there.
struct Kept {
    View<Real> full;
    View<BFloat16> rounded;
    std::size_t columns() const { return full.empty() ? rounded.columns() : full.columns(); }
};

/// One worker's view of one micro-batch on its way: whose rows, where to allocate, which randomness to draw, and what
/// forward kept for backward. Workers run the same layers side by side: each writes its own rows of shared tensors, and
/// they meet at a barrier before one reads what another wrote.
struct Context {
    const Team& team;
    const Communicator& tensor;  ///< the slices of this stage
    int slices = 1;              ///< their number
    const MicroBatch& batch;
    const PassOptions& options;
    Range rows;                               ///< of the micro-batch's rows, this worker's
    std::span<const std::int32_t> first_key;  ///< earliest position each row attends to; empty: all of its sequence

    Precision precision = Precision::fp32;  ///< of the products of linear layers
    Arena kept;                             ///< shared, lives until backward of this micro-batch is done
    Arena shared;                           ///< shared temporaries: handed back only behind a barrier
    Arena own;                              ///< this worker's temporaries
    std::vector<Kept> record;               ///< what forward kept, taken back in reverse order
    double loss = 0;                        ///< sum of the losses of this worker's rows

    /// This worker's rows as a factor of products: x itself, or a rounded copy in its own arena.
    Factor own_factor(Matrix<const Real> x);
    /// The same of all rows, of which each worker rounds its own, `mine`; the copy lies in the shared arena. Behind a
    /// barrier the other workers' rows are there too.
    Factor shared_factor(View<const Real> x, Range mine);
    Factor shared_factor(View<const Real> x) { return shared_factor(x, rows); }
    /// The same, but x itself is rounded: its rows begin with their rounded form from now on.
    Factor factor_in_place(View<Real> x, Range mine) const;

    void keep(View<Real> view) { record.push_back({view, {}}); }
    void keep(const Kept& what) { record.push_back(what); }
    View<Real> recall() { return recall_kept().full; }
    Kept recall_kept() {
        const Kept last = record.back();
        record.pop_back();
        return last;
    }

    /// Room for a tensor of all rows, of each worker its own.
    Kept allocate_kept(Shape shape);
    /// Where this worker's rows of it are to be computed: in their place, or in its own arena.
    View<Real> open(const Kept& what);
    /// When they are: they are kept, and `values`, what open() gave, holds what is kept, so that forward goes on with
    /// the values that backward will see.
    void close(const Kept& what, View<Real> values) const;
    /// This worker's rows as they were kept: in their place, or widened in its own arena.
    View<const Real> kept_rows(const Kept& what);

    /// True when every worker holds whole sequences, so that attention needs nobody else's rows.
    bool whole_sequences() const { return batch.sequences % static_cast<std::size_t>(team.size()) == 0; }
    void barrier_before_mixing_rows() const {
        if (!whole_sequences()) team.barrier();
    }
    void sum_over_slices(View<Real> partial) const { ulmpi::sum_over_slices(partial.flat(), tensor, slices, team); }
    bool trains(int group) const { return group >= options.first_trained_group; }
    DropoutSite site(std::uint32_t place, double probability) const {
        return {options.random_key, place, static_cast<Real>(options.training ? probability : 0)};
    }

    /// Calls f(sequence, first position, rows) for each run of this worker's rows within one sequence.
    template <typename F>
    void for_each_run(F f) const {
        for (std::size_t row = rows.first; row < rows.last;) {
            const std::size_t sequence = row / batch.length, position = row % batch.length;
            const std::size_t last = std::min(rows.last, (sequence + 1) * batch.length);
            f(sequence, position, Range{row, last});
            row = last;
        }
    }
};

/// y = dropout(x) on this worker's rows; y may be x.
void apply_dropout(View<Real> y, View<const Real> x, const DropoutSite& site, const Context& context);

}  // namespace ulmpi
