#pragma once
// The sum of the gradients over the replicas, begun while backward goes on.

#include <cstddef>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "model/parameters.hpp"
#include "model/stage.hpp"
#include "parallel/running_sums.hpp"
#include "parallel/topology.hpp"

namespace ulmpi {

/// All in one bucket: nothing is summed before backward has ended.
constexpr std::size_t no_overlap = std::numeric_limits<std::size_t>::max();
/// Long enough for a network, and short enough that several are begun while backward runs.
constexpr std::size_t bucket_bytes_for(bool overlap) { return overlap ? std::size_t{4} << 20 : no_overlap; }

/// Which gradients are summed, and from how many bytes on a sum is worth beginning before the others are there.
struct GradientSumsConfig {
    int first_trained = 0;                   ///< groups below are frozen: nothing is sent of them
    std::optional<ParameterId> shared = {};  ///< tied embeddings, on the first and on the last stage
    std::size_t bucket_bytes = no_overlap;
};

/// Gradients of consecutive groups that are summed together, from group `first` on.
struct GradientBucket {
    int first;
    std::vector<std::span<Real>> spans;
};

/// The trained groups from the highest down, so many to a bucket that it is long enough; the last holds what is left.
std::vector<GradientBucket> gradient_buckets(ParameterStore& store, int first_trained, std::size_t bucket_bytes);

/// Begins the sum of a bucket as soon as its gradients are whole; only the last waits for the end of backward. Buckets
/// are a function of the store alone: replicas agree on them and their order without a word, even one that has no
/// micro-batches. Only the leader of a rank's team calls it.
class GradientSums : public GradientWatch {
public:
    GradientSums(ParameterStore& store, const Topology& topology, const GradientSumsConfig& config)
        : store_(store),
          topology_(topology),
          config_(config),
          buckets_(gradient_buckets(store, config.first_trained, config.bucket_bytes)),
          running_(topology.data, topology.timeline) {}

    void whole_from(int group) override;
    /// Waits until all sums are there.
    void finish();

private:
    void begin_from(int group);

    ParameterStore& store_;
    const Topology& topology_;
    GradientSumsConfig config_;
    const std::vector<GradientBucket> buckets_;
    std::size_t begun_ = 0;  ///< of them
    RunningSums<Real> running_;
};

}  // namespace ulmpi
