// Loading: the file is verified once, by all ranks together; then each reads the rows or columns it holds.

#include <algorithm>
#include <set>

#include "base/quoted.hpp"
#include "checkpoints/checkpoint.hpp"
#include "checkpoints/content.hpp"
#include "checkpoints/format.hpp"
#include "checkpoints/placement.hpp"
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

bool is_table_of_tokens(const std::string& tensor) {
    return tensor == "token_embedding" || tensor == "output.weight" || tensor == "output.bias";
}

// out_t = mean over the sources s of t, or over all s where t has none, of row s of the dataset; t of this rank's
// slice. The rows of the file pass by once, in blocks, so that every layout adds in the same order and none holds the
// table.
void read_mixed_rows(const Hdf5Dataset& dataset, const Parameter& p, const VocabularyMap& map, std::span<float> out) {
    const std::size_t rows = map.from_size, width = p.global.size() / p.global.extent[0];
    const std::size_t block = std::max<std::size_t>(1, (std::size_t{1} << 20) / width);
    const Range mine = p.slicing.whole() ? Range{0, map.size()} : p.slicing.ranges[0];
    std::vector<std::pair<std::size_t, std::size_t>> uses;  // of a row of the file, by one of this rank's
    for (std::size_t t = mine.first; t < mine.last; ++t)
        for (Token source : map.sources[t]) uses.emplace_back(static_cast<std::size_t>(source), t - mine.first);
    std::ranges::sort(uses);
    std::vector<double> sum(width);
    std::vector<float> box;
    std::ranges::fill(out, 0.0F);
    auto use = uses.begin();
    for (std::size_t first = 0; first < rows; first += block) {
        const std::size_t last = std::min(rows, first + block);
        box.resize((last - first) * width);
        Dims start{first, 0}, count{last - first, width};
        start.resize(dataset.shape().size());
        count.resize(start.size());
        dataset.read(start, count, std::span<float>(box));
        for (std::size_t i = 0; i < box.size(); ++i) sum[i % width] += static_cast<double>(box[i]);
        for (; use != uses.end() && use->first < last; ++use)
            for (std::size_t i = 0; i < width; ++i)
                out[use->second * width + i] += box[(use->first - first) * width + i];
    }
    for (std::size_t t = mine.first; t < mine.last; ++t) {
        const std::span<float> row = out.subspan((t - mine.first) * width, width);
        const std::size_t count = map.sources[t].size();
        for (std::size_t i = 0; i < width; ++i)
            row[i] = count == 0 ? static_cast<float>(sum[i] / static_cast<double>(rows))
                                : row[i] / static_cast<float>(count);
    }
}

// What recurrent modules carry, all streams of the run.
void read_states(const std::filesystem::path& path, const CheckpointContent& content, ParameterStore& states) {
    for (const Parameter& p : states.parameters()) {
        const Hdf5Dataset dataset = content.file().dataset(dataset_name(Part::state, p.name));
        const Dims stored = dataset.shape(), wanted = dims_of(p.global);
        check_usage(stored[0] == wanted[0],
                    "{} was saved while {} streams of text were read side by side: a recurrent model goes "
                    "on with --global-batch-size {}, not {}",
                    quoted(path), stored[0], stored[0], wanted[0]);
        check_usage(stored == wanted, "{} has the state {} in shape {}, this model needs {}", quoted(path), p.name,
                    in_words(stored), in_words(wanted));
        read_slice(dataset, p, states.value_of(p));
    }
}

void read_tensors(const std::filesystem::path& path, ParameterStore& store, const Moments& moments,
                  const std::vector<TensorPlacement>& model, const LoadPolicy& policy) {
    const CheckpointContent content(path);
    std::set<std::string> left;
    for (const std::string& name : content.tensors())
        if (name.starts_with(policy.prefix)) left.insert(name);
    const bool wants_moments = policy.moments && !moments.first.empty();
    check_usage(
        !wants_moments || content.has_moments(),
        "{} holds weights without the optimizer's moments: a run can start from it (--init-from), but not be resumed",
        quoted(path));
    const bool averaged = wants_moments && !moments.average.empty();
    check_usage(!wants_moments || averaged == content.is_averaged(), "{}{}", quoted(path),
                (averaged ? " holds no average of the weights: it is a checkpoint of a run without --ema"
                          : " holds an average of the weights: it is a checkpoint of a run with --ema"));
    for (const Parameter& p : store.parameters()) {
        const std::string stored_as = policy.prefix + p.name;
        if (!left.contains(stored_as)) {
            check_usage(policy.may_be_new && policy.may_be_new(p.name),
                        "{} has no tensor {}: it is a checkpoint of another model", quoted(path), stored_as);
            continue;
        }
        const auto read = [&](Part part, std::span<float> buffer) {
            const Hdf5Dataset dataset = content.file().dataset(dataset_name(part, stored_as));
            const bool mixes = policy.vocabulary != nullptr && is_table_of_tokens(p.name);
            Dims wanted = dims_of(p.global);
            if (mixes) wanted[0] = policy.vocabulary->from_size;
            check_usage(dataset.shape() == wanted, "{} has {} in shape {}, this model needs {}", quoted(path),
                        stored_as, in_words(dataset.shape()), in_words(wanted));
            const std::span<float> out = buffer.subspan(p.offset, p.size());
            mixes ? read_mixed_rows(dataset, p, *policy.vocabulary, out) : read_slice(dataset, p, out);
        };
        read(Part::weight, averaged ? moments.average : store.values());
        if (averaged) read(Part::training_weight, store.values());
        if (!wants_moments) continue;
        read(Part::first_moment, moments.first);
        read(Part::second_moment, moments.second);
    }
    if (wants_moments && moments.states != nullptr) read_states(path, content, *moments.states);
    if (policy.may_be_new) return;
    for (const TensorPlacement& tensor : model) left.erase(policy.prefix + tensor.name);
    check_usage(left.empty(), "{} has a tensor {} that this model lacks: it is a checkpoint of another model",
                quoted(path), (left.empty() ? "" : *left.begin()));
}

}  // namespace

void load_checkpoint(const std::filesystem::path& file, ParameterStore& store, const Moments& moments,
                     const Topology& topology, const LoadPolicy& policy) {
    check(moments.first.size() == moments.second.size(), "the two moments differ in size");
    check(moments.first.empty() || moments.first.size() == store.size(), "the moments are not laid out like the store");
    check(moments.average.empty() || moments.average.size() == store.size(),
          "the average is not laid out like the store");
    check(policy.vocabulary == nullptr || !policy.moments, "moments have no mean");
    if (!policy.verified) verify_seal_together(file, topology.all);
    const std::vector<TensorPlacement> model = place_tensors(store, topology.model);
    agree(topology.all, problem_of([&] { read_tensors(file, store, moments, model, policy); }));
    store.round_values();
}

}  // namespace ulmpi
