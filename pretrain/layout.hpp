#pragma once
// How the ranks and their threads share a model: what was asked for, and what fits.

#include <cstddef>
#include <string>

#include "model/kernels/factor.hpp"
#include "parallel/option_table.hpp"
#include "parallel/pipeline_schedule.hpp"
#include "parallel/topology.hpp"

namespace ulmpi {

/// How the ranks are laid out and the batch is cut, as options have it.
struct LayoutOptions {
    int tensor_parallel = 1, pipeline_parallel = 1;
    std::string schedule = "1f1b";
    std::size_t micro_batch = 8;  ///< sequences that may go through the model together
    int threads = 0;              ///< per rank; 0: the usable cores of the node, divided by its ranks
    std::string precision = "fp32";
};
void add_layout_options(OptionTable& table, LayoutOptions& options);

/// How the ranks carry a model.
struct Layout {
    Extents extents;
    PipelineSchedule schedule = PipelineSchedule::one_forward_one_backward;
    int threads = 1;
    Precision precision = Precision::fp32;
};

/// The layout that options ask for, if it fits the ranks; UsageError alike on all where it does not. Collective.
Layout layout_from(const LayoutOptions& options, const Communicator& world);

/// How many sequences of `length` tokens really go through a language model together when `asked` may: no more than
/// give each thread about 512 tokens. That keeps matrix products at their speed; what is beyond only holds more
/// activations, and the gradients of the pieces are summed either way.
std::size_t fitted_micro_batch(std::size_t asked, std::size_t length, int threads);

/// Says on standard error (rank 0) when matrix products run on slower kernels than this CPU has.
void say_if_products_are_slow(const Communicator& world);

/// Threads of this rank: what was asked for, or the cores it may use divided by the ranks that share them, and no more
/// than a Slurm job's --cpus-per-task. Says on
/// standard error (rank 0) when a rank is bound to fewer cores than it was given threads, or cores stay idle.
/// Collective.
int threads_per_rank(int asked, const Communicator& world);

}  // namespace ulmpi
