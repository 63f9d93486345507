// Loading: the file is verified once, by all ranks together; then each reads the rows or columns it holds.

#include <algorithm>
#include <set>

#include "checkpoints/checkpoint.hpp"
#include "checkpoints/content.hpp"
#include "checkpoints/format.hpp"
#include "checkpoints/placement.hpp"
#include "data/quoted.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

std::string in_words(const Dims& dims) {
    std::string words;
    for (std::uint64_t extent : dims) words += (words.empty() ? "[" : ", ") + std::to_string(extent);
    return words + "]";
}

// out = the rank's slice of the dataset, one box a range.
void read_slice(const Hdf5Dataset& dataset, const Parameter& p, std::span<float> out) {
    const Dims whole = dims_of(p.global);
    const Dims origin(whole.size(), 0);
    if (p.slicing.whole()) return dataset.read(origin, whole, out);
    const auto axis = static_cast<std::size_t>(p.slicing.axis);
    std::vector<float> box;
    std::size_t before = 0;  // along the axis, of the slice
    for (Range range : p.slicing.ranges) {
        Dims start = origin, count = whole;
        start[axis] = range.first;
        count[axis] = range.size();
        const std::size_t elements = p.global.size() / p.global.extent[axis] * range.size();
        if (elements == p.size()) return dataset.read(start, count, out);
        box.resize(elements);
        dataset.read(start, count, std::span<float>(box));
        const Slicing within_slice{p.slicing.axis, {{before, before + range.size()}}};
        insert_slice(out, p.local, within_slice, box);
        before += range.size();
    }
}

void read_tensors(const std::filesystem::path& path, ParameterStore& store, const Moments& moments,
                  const std::vector<TensorPlacement>& model, const LoadPolicy& policy) {
    const CheckpointContent content(path);
    std::set<std::string> left;
    for (const std::string& name : content.tensors()) left.insert(name);
    const bool wants_moments = policy.moments && !moments.first.empty();
    check_usage(!wants_moments || content.has_moments(),
                quoted(path) +
                    " holds weights without the optimizer's moments: a run can start from it (--init-from), "
                    "but not be resumed");
    for (const Parameter& p : store.parameters()) {
        if (!left.contains(p.name)) {
            check_usage(policy.may_be_new && policy.may_be_new(p.name),
                        quoted(path) + " has no tensor " + p.name + ": it is a checkpoint of another model");
            continue;
        }
        const auto read = [&](Part part, std::span<float> buffer) {
            const Hdf5Dataset dataset = content.file().dataset(dataset_name(part, p.name));
            check_usage(dataset.shape() == dims_of(p.global), quoted(path) + " has " + p.name + " in shape " +
                                                                  in_words(dataset.shape()) + ", this model needs " +
                                                                  in_words(dims_of(p.global)));
            read_slice(dataset, p, buffer.subspan(p.offset, p.size()));
        };
        read(Part::weight, store.values());
        if (!wants_moments) continue;
        read(Part::first_moment, moments.first);
        read(Part::second_moment, moments.second);
    }
    if (policy.may_be_new) return;
    for (const TensorPlacement& tensor : model) left.erase(tensor.name);
    check_usage(left.empty(), quoted(path) + " has a tensor " + (left.empty() ? "" : *left.begin()) +
                                  " that this model lacks: it is a checkpoint of another model");
}

}  // namespace

void load_checkpoint(const std::filesystem::path& file, ParameterStore& store, const Moments& moments,
                     const Topology& topology, const LoadPolicy& policy) {
    check(moments.first.size() == moments.second.size(), "the two moments differ in size");
    check(moments.first.empty() || moments.first.size() == store.size(), "the moments are not laid out like the store");
    if (!policy.verified) verify_seal_together(file, topology.all);
    const std::vector<TensorPlacement> model = place_tensors(store, topology.model);
    agree(topology.all, problem_of([&] { read_tensors(file, store, moments, model, policy); }));
    store.round_values();
}

}  // namespace ulmpi
