#include "checkpoints/staging.hpp"

#include <algorithm>
#include <cstring>

#include "base/error.hpp"
#include "model/kernels/elementwise.hpp"
#include "parallel/team.hpp"

namespace ulmpi {
namespace {

constexpr int piece_tag = 1;

}  // namespace

SavePlan plan_save(const ParameterStore& store, bool with_moments, const Topology& topology, bool averaged,
                   const ParameterStore* states) {
    SavePlan plan{place_tensors(store, topology.model), {}, {}};
    if (states != nullptr)
        for (TensorPlacement& state : place_tensors(*states, topology.model)) {
            state.is_state = true;
            plan.tensors.push_back(std::move(state));
        }
    plan.jobs = deal_jobs(plan.tensors, with_moments, topology.extents.data, averaged);
    for (std::size_t j = 0; j < plan.jobs.size(); ++j)
        if (plan.jobs[j].replica == topology.at.data && plan.jobs[j].writer == topology.model.rank())
            plan.mine.push_back(j);
    return plan;
}

StagingRoom room_for(const SavePlan& plan, bool copies) {
    StagingRoom room;
    for (std::size_t job : plan.mine) {
        const TensorPlacement& tensor = plan.tensor(job);
        if (copies)
            room.whole += tensor.shape.size();
        else if (tensor.pieces.size() > 1)
            room.whole = std::max(room.whole, tensor.shape.size());
        for (const Piece& piece : tensor.pieces) {
            std::size_t first = 0;
            if (!is_consecutive(tensor.shape, piece.slicing, first)) room.piece = std::max(room.piece, piece.elements);
        }
    }
    return room;
}

Staging::Staging(const SavePlan& plan, bool copies, const ParameterStore& store, const Moments& moments,
                 const Topology& topology, int threads)
    : plan_(plan),
      copies_all_(copies),
      store_(store),
      states_(moments.states),
      parts_{moments.average.empty() ? store.values() : moments.average, moments.first, moments.second, store.values(),
             states_ != nullptr ? states_->values() : std::span<const float>()},
      topology_(topology),
      threads_(threads),
      room_(room_for(plan, copies)),
      memory_(room_.bytes()) {
    check(moments.first.size() == moments.second.size(), "the two moments differ in size");
    check(moments.first.empty() || moments.first.size() == store.size(), "the moments are not laid out like the store");
    check(moments.average.empty() || moments.average.size() == store.size(),
          "the average is not laid out like the store");
    float* memory = reinterpret_cast<float*>(memory_.base());
    whole_ = {memory, room_.whole};
    piece_ = {memory + room_.whole, room_.piece};
    run_team(threads_, [&](const Team& team) {
        const Range share = team.share(room_.whole + room_.piece);
        if (share.size() > 0) std::memset(memory + share.first, 0, share.size() * sizeof(float));
    });
    std::size_t next = 0;
    for (std::size_t job : plan.mine) {
        places_.push_back(next);
        if (copies) next += plan.tensor(job).shape.size();
    }
}

std::span<const float> Staging::held(std::size_t job) const {
    const Part part = plan_.jobs[job].part;
    const ParameterStore& store = part == Part::state ? *states_ : store_;
    const auto p = std::ranges::find(store.parameters(), plan_.tensor(job).name, &Parameter::name);
    return parts_[static_cast<std::size_t>(part)].subspan(p->offset, p->size());
}

void Staging::send() {
    for (std::size_t j = 0; j < plan_.jobs.size(); ++j) {
        const WriteJob& job = plan_.jobs[j];
        if (job.replica != topology_.at.data || job.writer == me()) continue;
        for (const Piece& piece : plan_.tensor(j).pieces)
            if (piece.rank == me()) sends_.push_back(topology_.model.send(held(j), job.writer, piece_tag));
    }
}

void Staging::copy_all() {
    send();
    for (std::size_t i = 0; i < plan_.mine.size(); ++i)
        assemble(whole_.subspan(places_[i], plan_.tensor(plan_.mine[i]).shape.size()), plan_.mine[i]);
    make_copies();
    wait();
}

std::span<const float> Staging::tensor(std::size_t i) {
    const std::size_t job = plan_.mine[i];
    const TensorPlacement& tensor = plan_.tensor(job);
    if (!copies_all_ && tensor.pieces.size() == 1) return held(job);
    const std::span<float> whole = whole_.subspan(places_[i], tensor.shape.size());
    if (!copies_all_) {
        assemble(whole, job);
        make_copies();
    }
    return whole;
}

void Staging::assemble(std::span<float> whole, std::size_t job) {
    const TensorPlacement& tensor = plan_.tensor(job);
    for (const Piece& piece : tensor.pieces) {
        std::size_t first = 0;
        const bool consecutive = is_consecutive(tensor.shape, piece.slicing, first);
        if (piece.rank == me()) {
            if (consecutive)
                copies_.push_back({whole.data() + first, held(job)});
            else
                insert_slice(whole, tensor.shape, piece.slicing, held(job));
        } else if (consecutive) {
            topology_.model.receive(whole.subspan(first, piece.elements), piece.rank, piece_tag);
        } else {
            const std::span<float> part = piece_.first(piece.elements);
            topology_.model.receive(part, piece.rank, piece_tag);
            insert_slice(whole, tensor.shape, piece.slicing, part);
        }
    }
}

// Each thread takes its share of all elements, wherever tensors begin and end.
void Staging::make_copies() {
    std::size_t total = 0;
    for (const Copy& copy : copies_) total += copy.from.size();
    run_team(total < (std::size_t{1} << 20) ? 1 : threads_, [&](const Team& team) {
        const Range share = team.share(total);
        std::size_t begin = 0;
        for (const Copy& copy : copies_) {
            const std::size_t first = std::max(begin, share.first),
                              last = std::min(begin + copy.from.size(), share.last);
            if (first < last)
                copy_past_cache(copy.to + (first - begin), copy.from.data() + (first - begin), last - first);
            begin += copy.from.size();
        }
    });
    copies_.clear();
}

}  // namespace ulmpi
