// Saving: rank 0 outlines the file in memory, all ranks write whole tensors at their offsets, rank 0 writes what lies
// between them, seals and publishes. Between these steps the ranks agree that nothing has failed.

#include <algorithm>
#include <array>

#include "checkpoints/checkpoint.hpp"
#include "checkpoints/format.hpp"
#include "checkpoints/outline.hpp"
#include "checkpoints/placement.hpp"
#include "data/file_descriptor.hpp"
#include "data/file_seal.hpp"
#include "data/publish.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

constexpr int piece_tag = 1;

// The weights and, if there are any, the moments of this rank, by part.
using PartBuffers = std::array<std::span<const float>, 3>;

std::string text_from_first(std::string text, const Communicator& ranks) {
    text.resize(broadcast_value<std::uint64_t>(text.size(), ranks, 0));
    ranks.broadcast(std::span<char>(text), 0);
    return text;
}

// Gathers and writes the tensors of one rank.
class TensorWriter {
public:
    // Opens the file and takes all the memory that run() will need. Throws.
    TensorWriter(const std::filesystem::path& path, const std::vector<TensorPlacement>& tensors,
                 const std::vector<WriteJob>& jobs, const ParameterStore& store, const PartBuffers& buffers,
                 const Topology& topology)
        : tensors_(tensors), jobs_(jobs), store_(store), buffers_(buffers), topology_(topology), file_(path, O_WRONLY) {
        check(file_.is_open(), "cannot open " + quoted(path) + ": " + system_reason() +
                                   "; all ranks must see the folder of the checkpoints");
        std::size_t whole = 0, piece = 0;
        for (const WriteJob& job : jobs) {
            const TensorPlacement& tensor = tensors[job.tensor];
            if (!writes(job) || tensor.pieces.size() == 1) continue;
            whole = std::max(whole, tensor.shape.size());
            for (const Piece& p : tensor.pieces) {
                std::size_t first = 0;
                if (!is_consecutive(tensor.shape, p.slicing, first)) piece = std::max(piece, p.elements);
            }
        }
        whole_.resize(whole);
        piece_.resize(piece);
    }

    // Writes every job of this rank; crc32s[job] becomes the checksum. Returns what failed first. Each piece is sent to
    // its writer before anybody writes, and received even after a failure, so no rank waits for another in vain.
    std::string run(const std::vector<std::uint64_t>& offsets, std::span<std::uint32_t> crc32s) {
        std::vector<Request> sends;
        for (const WriteJob& job : jobs_)
            for (const Piece& piece : tensors_[job.tensor].pieces)
                if (job.replica == topology_.at.data && piece.rank == me() && job.writer != me())
                    sends.push_back(topology_.model.send(held(job), job.writer, piece_tag));
        std::string problem;
        for (std::size_t j = 0; j < jobs_.size(); ++j) {
            if (!writes(jobs_[j])) continue;
            const std::span<const float> tensor = gather(jobs_[j]);
            if (!problem.empty()) continue;
            crc32s[j] = crc32_of(std::as_bytes(tensor));
            problem = problem_of([&] { file_.write_at(offsets[j], tensor.data(), tensor.size_bytes()); });
            file_.start_sync(offsets[j], tensor.size_bytes());
        }
        return problem.empty() ? problem_of([&] { file_.sync(); }) : problem;
    }

private:
    int me() const { return topology_.model.rank(); }
    bool writes(const WriteJob& job) const { return job.replica == topology_.at.data && job.writer == me(); }

    // What this rank holds of the tensor.
    std::span<const float> held(const WriteJob& job) const {
        const std::string& name = tensors_[job.tensor].name;
        const auto p = std::ranges::find(store_.parameters(), name, &Parameter::name);
        return buffers_[static_cast<std::size_t>(job.part)].subspan(p->offset, p->size());
    }

    std::span<const float> gather(const WriteJob& job) {
        const TensorPlacement& tensor = tensors_[job.tensor];
        if (tensor.pieces.size() == 1) return held(job);
        const std::span<float> whole = std::span(whole_).first(tensor.shape.size());
        for (const Piece& piece : tensor.pieces) {
            std::size_t first = 0;
            if (piece.rank == me()) {
                insert_slice(whole, tensor.shape, piece.slicing, held(job));
            } else if (is_consecutive(tensor.shape, piece.slicing, first)) {
                topology_.model.receive(whole.subspan(first, piece.elements), piece.rank, piece_tag);
            } else {
                const std::span<float> part = std::span(piece_).first(piece.elements);
                topology_.model.receive(part, piece.rank, piece_tag);
                insert_slice(whole, tensor.shape, piece.slicing, part);
            }
        }
        return whole;
    }

    const std::vector<TensorPlacement>& tensors_;
    const std::vector<WriteJob>& jobs_;
    const ParameterStore& store_;
    const PartBuffers& buffers_;
    const Topology& topology_;
    FileDescriptor file_;
    std::vector<float> whole_, piece_;
};

}  // namespace

std::optional<std::string> save_checkpoint(const std::filesystem::path& file, const nlohmann::json& metadata,
                                           const std::string& tokenizer_json, const ParameterStore& store,
                                           const Moments& moments, const Topology& topology) {
    const Communicator& all = topology.all;
    const bool first_rank = all.rank() == 0;
    const PartBuffers buffers{store.values(), moments.first, moments.second};
    check(moments.first.size() == moments.second.size(), "the two moments differ in size");
    check(moments.first.empty() || moments.first.size() == store.size(), "the moments are not laid out like the store");
    const std::vector<TensorPlacement> tensors = place_tensors(store, topology.model);
    const std::vector<WriteJob> jobs = deal_jobs(tensors, !moments.first.empty(), topology.extents.data);
    const std::filesystem::path temporary = text_from_first(temporary_name(file).string(), all);

    std::vector<std::uint64_t> offsets(jobs.size());
    std::vector<std::uint32_t> crc32s(jobs.size(), 0);
    std::optional<CheckpointOutline> outline;
    std::optional<TensorWriter> writer;
    try {
        agree(all, problem_of([&] {
                  if (!first_rank) return;
                  outline.emplace(metadata, tokenizer_json, tensors, jobs);
                  std::ranges::transform(outline->tensors(), offsets.begin(), &OutlinedTensor::offset);
                  const FileDescriptor made(temporary, O_WRONLY | O_CREAT | O_TRUNC);
                  check(made.is_open(), "cannot create " + quoted(temporary) + ": " + system_reason());
              }));
        all.broadcast(std::span<std::uint64_t>(offsets), 0);
        agree(all, problem_of([&] { writer.emplace(temporary, tensors, jobs, store, buffers, topology); }));
        agree(all, writer->run(offsets, crc32s));
        all.all_reduce_sum(std::span<std::uint32_t>(crc32s));  // each is known to one rank, 0 on the others
        agree(all, problem_of([&] {
                  if (!first_rank) return;
                  seal_file(temporary, checkpoint_kind, outline->complete(temporary, crc32s));
                  publish(temporary, file);
              }));
        return std::nullopt;
    } catch (const UsageError& failure) {  // agreed on above, hence caught by every rank
        std::error_code ignored;
        if (first_rank) std::filesystem::remove(temporary, ignored);
        all.barrier();
        return "cannot save the checkpoint " + quoted(file) + ": " + failure.what();
    }
}

}  // namespace ulmpi
