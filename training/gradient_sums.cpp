#include "training/gradient_sums.hpp"

#include <functional>
#include <set>

namespace ulmpi {

std::vector<GradientBucket> gradient_buckets(ParameterStore& store, int first_trained, std::size_t bucket_bytes) {
    std::set<int, std::greater<>> groups;
    for (const Parameter& p : store.parameters())
        if (p.group >= first_trained) groups.insert(p.group);
    std::vector<GradientBucket> buckets;
    int end = groups.empty() ? 0 : *groups.begin() + 1;
    for (const int group : groups) {
        GradientBucket bucket{group, store.gradients_of(group, end)};
        std::size_t bytes = 0;
        for (const std::span<Real> its : bucket.spans) bytes += its.size_bytes();
        if (bytes < bucket_bytes && group != *groups.rbegin()) continue;
        buckets.push_back(std::move(bucket));
        end = group;
    }
    return buckets;
}

// All but the last, which ends in what backward reaches last.
void GradientSums::begin_from(int group) {
    for (; begun_ + 1 < buckets_.size() && buckets_[begun_].first >= group; ++begun_)
        for (const std::span<Real> its : buckets_[begun_].spans) running_.add(its);
}

void GradientSums::whole_from(int group) {
    begin_from(group);
    running_.progress();
}

// Tied embeddings live on the first and the last stage, each with the gradient of its own use. They lie in group 0, the
// end of the last bucket.
void GradientSums::finish() {
    begin_from(config_.first_trained);
    running_.finish();
    if (config_.shared && config_.first_trained == 0)
        topology_.ends.all_reduce_sum(store_.gradient(*config_.shared).flat());
    std::uint64_t bytes = running_.bytes();
    if (!buckets_.empty())
        for (const std::span<Real> its : buckets_.back().spans) {
            topology_.data.all_reduce_sum(its);
            bytes += its.size_bytes();
        }
    if (topology_.timeline != nullptr && running_.bytes() > 0)
        topology_.timeline->overlapped(running_.early_bytes(), bytes);
}

}  // namespace ulmpi
