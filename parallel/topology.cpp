#include "parallel/topology.hpp"

#include <fmt/format.h>

#include "base/error.hpp"

namespace ulmpi {

Extents extents_for(int ranks, int pipeline, int tensor) {
    check_usage(pipeline >= 1 && tensor >= 1, "--pipeline-parallel-size and --tensor-parallel-size must be at least 1");
    const long long one_replica = static_cast<long long>(pipeline) * tensor;
    check_usage(one_replica <= ranks && ranks % one_replica == 0,
                "the layout does not fit the ranks: --pipeline-parallel-size {} x --tensor-parallel-size {} "
                "needs a multiple of {} ranks, but {} {} running; start mpirun with -n {}",
                pipeline, tensor, one_replica, ranks, ranks == 1 ? "is" : "are",
                (ranks + one_replica - 1) / one_replica * one_replica);
    return {ranks / static_cast<int>(one_replica), pipeline, tensor};
}

std::string to_string(Extents n) { return fmt::format("dp{} x pp{} x tp{}", n.data, n.pipeline, n.tensor); }

namespace {

int color_of(Coordinates at, Extents n) { return rank_of(at, n); }

}  // namespace

// Ranks share a communicator when all their other coordinates agree: the color is the rank with that axis at 0.
Topology::Topology(const Communicator& world, Extents n, Timeline* line)
    : extents(n),
      at(coordinates_of(world.rank(), n)),
      all(world.split(0, world.rank())),
      data(world.split(color_of({0, at.stage, at.slice}, n), at.data)),
      pipeline(world.split(color_of({at.data, 0, at.slice}, n), at.stage)),
      tensor(world.split(color_of({at.data, at.stage, 0}, n), at.slice)),
      model(world.split(at.data, world.rank())),
      ends(world.split(first_stage() || last_stage() ? color_of({at.data, 0, at.slice}, n) : world.rank(), at.stage)),
      timeline(line) {
    for (Communicator* ranks : {&all, &data, &pipeline, &tensor, &model, &ends}) ranks->record_on(line);
    check(n.data * n.pipeline * n.tensor == world.size(), "the grid of ranks does not fill the world");
}

}  // namespace ulmpi
