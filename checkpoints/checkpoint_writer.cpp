#include "checkpoints/checkpoint_writer.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/files/descriptor.hpp"
#include "base/files/direct_writer.hpp"
#include "base/files/publish.hpp"
#include "base/files/seal.hpp"
#include "checkpoints/format.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {

std::size_t save_memory(const SavePlan& plan, SaveMode mode) {
    const bool has_large = std::ranges::any_of(plan.mine, [&](std::size_t job) {
        return plan.tensor(job).shape.size() * sizeof(float) >= DirectWriter::least;
    });
    return room_for(plan, mode == SaveMode::async).bytes() +
           (has_large ? DirectWriter::pieces * DirectWriter::piece : 0);
}

CheckpointWriter::CheckpointWriter(const ParameterStore& store, const Moments& moments, const Topology& topology,
                                   SaveMode mode, int threads)
    : topology_(topology),
      plan_(plan_save(store, !moments.first.empty(), topology, !moments.average.empty(), moments.states)),
      mode_(mode),
      first_rank_(topology.all.rank() == 0),
      staging_(plan_, mode == SaveMode::async, store, moments, topology, threads),
      offsets_(plan_.jobs.size()),
      crc32s_(plan_.jobs.size()) {}

void CheckpointWriter::begin(SaveRequest request) {
    check(!busy(), "a checkpoint is still being written");
    const Clock::time_point before = Clock::now();
    request_ = std::move(request);
    temporary_ = broadcast_text(temporary_name(request_.file).string(), topology_.all, 0);
    std::ranges::fill(crc32s_, 0);
    if (mode_ == SaveMode::async) staging_.copy_all();
    spent_ = std::chrono::duration<double>(Clock::now() - before).count();
    seconds_ = 0;
    phase_ = 0;
    start_phase();
}

SaveResult CheckpointWriter::finish() {
    for (;;)
        if (std::optional<SaveResult> done = advance(true)) return *std::move(done);
}

void CheckpointWriter::start_phase() {
    const auto timed = [this] {
        const Clock::time_point before = Clock::now();
        std::string problem = work();
        spent_ += std::chrono::duration<double>(Clock::now() - before).count();
        return problem;
    };
    work_ = std::async(mode_ == SaveMode::async ? std::launch::async : std::launch::deferred, timed);
}

std::optional<SaveResult> CheckpointWriter::advance(bool wait) {
    const Communicator& all = topology_.all;
    if (!wait) {
        // Deferred work is ready to be done.
        std::int32_t ready = work_.wait_for(std::chrono::seconds(0)) == std::future_status::timeout ? 0 : 1;
        all.all_reduce_min(std::span<std::int32_t>(&ready, 1));
        if (ready == 0) return std::nullopt;
    }
    try {
        agree(all, work_.get());
    } catch (const UsageError& failure) {  // agreed on, hence caught by every rank
        std::error_code ignored;
        if (first_rank_) std::filesystem::remove(temporary_, ignored);
        all.barrier();
        return end("cannot save the checkpoint " + quoted(request_.file) + ": " + failure.what());
    }
    exchange();
    if (++phase_ == phases) return end(std::nullopt);
    start_phase();
    return std::nullopt;
}

// What goes on without communication, but for gathering in sync mode.
std::string CheckpointWriter::work() {
    switch (phase_) {
        case 0:
            return problem_of([&] {
                if (!first_rank_) return;
                outline_.emplace(request_.metadata, request_.tokenizer_json,
                                 request_.wide != nullptr ? *request_.wide : WideContent{}, plan_.tensors, plan_.jobs);
                std::ranges::transform(outline_->tensors(), offsets_.begin(), &OutlinedTensor::offset);
                FileDescriptor made(temporary_, O_WRONLY | O_CREAT | O_TRUNC);
                check(made.is_open(), "cannot create {}: {}", quoted(temporary_), system_reason());
                made.reserve(outline_->end_of_tensors());
            });
        case 1:
            return write();
        default:
            return problem_of([&] {
                if (first_rank_) publish_file();
            });
    }
}

void CheckpointWriter::exchange() {
    topology_.all.all_reduce_max(std::span<double>(&spent_, 1));
    seconds_ += std::exchange(spent_, 0);
    if (phase_ == 0) topology_.all.broadcast(std::span<std::uint64_t>(offsets_), 0);
    if (phase_ == 1) topology_.all.all_reduce_sum(std::span<std::uint32_t>(crc32s_));  // each is known to one rank
}

// Every tensor is gathered, even after a failure, so that no rank waits for another in vain.
std::string CheckpointWriter::write() {
    std::optional<DirectWriter> file;
    std::string problem = problem_of([&] { file.emplace(temporary_); });
    if (!problem.empty()) problem += "; all ranks must see the folder of the checkpoints";
    if (mode_ == SaveMode::sync) staging_.send();
    for (std::size_t i = 0; i < plan_.mine.size(); ++i) {
        const std::span<const float> tensor = staging_.tensor(i);
        const std::size_t job = plan_.mine[i];
        if (problem.empty())
            problem = problem_of([&] { crc32s_[job] = file->write(offsets_[job], std::as_bytes(tensor)); });
    }
    staging_.wait();
    return problem.empty() ? problem_of([&] { file->finish(); }) : problem;
}

void CheckpointWriter::publish_file() {
    seal_file(temporary_, checkpoint_kind, outline_->complete(temporary_, crc32s_));
    if (request_.before_publishing) request_.before_publishing();
    bytes_ = std::filesystem::file_size(temporary_);
    publish(temporary_, request_.file);
    if (request_.after_publishing) request_.after_publishing();
}

SaveResult CheckpointWriter::end(std::optional<std::string> failure) {
    outline_.reset();
    request_ = {};
    phase_ = phases;
    return {std::move(failure), bytes_, seconds_};
}

std::optional<std::string> save_checkpoint(const std::filesystem::path& file, const nlohmann::json& metadata,
                                           const std::string& tokenizer_json, const ParameterStore& store,
                                           const Moments& moments, const Topology& topology) {
    CheckpointWriter writer(store, moments, topology, SaveMode::sync);
    writer.begin({file, metadata, tokenizer_json});
    return writer.finish().failure;
}

}  // namespace ulmpi
