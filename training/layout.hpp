#pragma once
// How the ranks and their threads share a model: what was asked for, and what fits.

#include <cstddef>
#include <string>

#include "base/options/table.hpp"
#include "model/kernels/factor.hpp"
#include "parallel/pipeline_schedule.hpp"
#include "parallel/topology.hpp"

namespace ulmpi {

/// How the ranks are laid out and the batch is cut, as options have it.
struct LayoutOptions {
    int tensor_parallel = 1, pipeline_parallel = 1;
    std::string schedule = "1f1b";
    bool overlap = false;         ///< sums of gradients begin while backward runs
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
    bool overlap = false;
};

/// The layout that options ask for on so many ranks, with `threads` where they ask for none. Pure; UsageError where it
/// does not fit the ranks.
Layout resolve_layout(const LayoutOptions& options, int ranks, int threads);

/// The same for the ranks and cores that are there, checked by each rank on its CPU; UsageError alike on all where it
/// does not. Collective.
Layout layout_from(const LayoutOptions& options, const Communicator& world);

/// How many sequences of `length` tokens really go through a language model together when `asked` may: no more than
/// give each thread about 512 tokens. That keeps matrix products at their speed; what is beyond only holds more
/// activations, and the gradients of the pieces are summed either way.
std::size_t fitted_micro_batch(std::size_t asked, std::size_t length, int threads);

/// The cores that the ranks may use.
struct Cores {
    int threads = 1;            ///< for a rank, where none were asked for: alike on all ranks, so as to suit each
    int here = 1, of_node = 1;  ///< that this rank is bound to; that any rank of its node is bound to
    bool told = false;          ///< by Slurm's --cpus-per-task
};
/// Each rank may use its cores, divided by the ranks that share them, and no more than a Slurm job's --cpus-per-task.
/// The rank with the fewest decides: the others wait for it in every step. Collective.
Cores find_cores(const Communicator& world);

/// Says on standard error (rank 0) when matrix products run on slower kernels than this CPU has, a rank is bound to
/// fewer cores than it has `threads`, or as many as the ranks may use leave cores idle. Collective.
void say_how_threads_fit(const Cores& cores, int threads, const Communicator& world);

/// Threads of every rank: what was asked for, or find_cores; says how they fit.
/// Collective.
int threads_per_rank(int asked, const Communicator& world);

}  // namespace ulmpi
