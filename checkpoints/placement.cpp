#include "checkpoints/placement.hpp"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>

#include "base/error.hpp"

namespace ulmpi {
namespace {

using nlohmann::json;

// One line a tensor that this rank counts.
std::string describe(const ParameterStore& store, int rank) {
    std::string lines;
    for (const Parameter& p : store.parameters()) {
        if (!p.counted) continue;
        json ranges = json::array();
        for (Range range : p.slicing.ranges) ranges.push_back({range.first, range.last});
        lines += json{p.name, p.global.extent, rank, p.slicing.axis, ranges, p.size()}.dump() + "\n";
    }
    return lines;
}

// Elements of the tensor for one step along `axis`: 1 row is columns × …, 1 column is … .
std::size_t stride_of(const Shape& shape, int axis) {
    std::size_t stride = 1;
    for (auto inner = static_cast<std::size_t>(axis) + 1; inner < 4; ++inner) stride *= shape.extent[inner];
    return stride;
}

}  // namespace

std::vector<TensorPlacement> place_tensors(const ParameterStore& store, const Communicator& model) {
    const std::string mine = describe(store, model.rank());
    const std::vector<char> all = model.all_gather(std::span<const char>(mine));
    std::vector<TensorPlacement> tensors;
    std::map<std::string, std::size_t> index;
    std::istringstream lines(std::string(all.begin(), all.end()));
    for (std::string line; std::getline(lines, line);) {
        const json words = json::parse(line);
        const auto name = words[0].get<std::string>();
        Shape shape;
        shape.extent = words[1].get<decltype(shape.extent)>();
        const auto [place, is_new] = index.try_emplace(name, tensors.size());
        if (is_new) tensors.push_back({name, shape, {}, false});
        TensorPlacement& tensor = tensors[place->second];
        check(tensor.shape == shape, "the ranks disagree about the shape of {}", name);
        Piece piece{words[2].get<int>(), {words[3].get<int>(), {}}, words[5].get<std::size_t>()};
        for (const json& range : words[4])
            piece.slicing.ranges.push_back({range[0].get<std::size_t>(), range[1].get<std::size_t>()});
        tensor.pieces.push_back(std::move(piece));
    }
    for (const TensorPlacement& tensor : tensors) {
        std::size_t elements = 0;
        for (const Piece& piece : tensor.pieces) elements += piece.elements;
        check(elements == tensor.shape.size(), "the slices of {} do not fill it", tensor.name);
    }
    return tensors;
}

std::vector<WriteJob> deal_jobs(const std::vector<TensorPlacement>& tensors, bool with_moments, int replicas,
                                bool averaged) {
    std::vector<WriteJob> jobs;
    std::vector<Part> parts{Part::weight};
    if (with_moments) parts.insert(parts.end(), {Part::first_moment, Part::second_moment});
    if (averaged) parts.push_back(Part::training_weight);
    parts.push_back(Part::state);
    for (Part part : parts)
        for (std::size_t t = 0; t < tensors.size(); ++t)
            if (tensors[t].is_state == (part == Part::state)) jobs.push_back({t, part});

    const auto size_of = [&](const WriteJob& job) { return tensors[job.tensor].shape.size(); };
    std::vector<std::size_t> order(jobs.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, std::greater{}, [&](std::size_t j) { return size_of(jobs[j]); });
    std::map<std::pair<int, int>, std::size_t> load;  // of (replica, rank of the model), in elements
    for (std::size_t j : order) {
        std::pair<int, int> best{-1, -1};
        for (int replica = 0; replica < replicas; ++replica)
            for (const Piece& piece : tensors[jobs[j].tensor].pieces)
                if (const std::pair here{replica, piece.rank}; best.first < 0 || load[here] < load[best]) best = here;
        load[best] += size_of(jobs[j]);
        std::tie(jobs[j].replica, jobs[j].writer) = best;
    }
    return jobs;
}

bool is_consecutive(const Shape& shape, const Slicing& slicing, std::size_t& first) {
    first = 0;
    if (slicing.whole()) return true;
    if (slicing.axis != 0 || slicing.ranges.size() != 1) return false;
    first = slicing.ranges[0].first * stride_of(shape, 0);
    return true;
}

void insert_slice(std::span<float> whole, const Shape& shape, const Slicing& slicing, std::span<const float> piece) {
    const std::size_t stride = stride_of(shape, slicing.axis);
    const std::size_t extent = shape.extent[static_cast<std::size_t>(slicing.axis)];
    const std::size_t outer = shape.size() / (stride * extent);
    const float* next = piece.data();
    const std::vector<Range> everything{{0, extent}};
    for (std::size_t o = 0; o < outer; ++o)
        for (Range range : slicing.whole() ? everything : slicing.ranges) {
            std::copy_n(next, range.size() * stride, whole.data() + (o * extent + range.first) * stride);
            next += range.size() * stride;
        }
}

}  // namespace ulmpi
