#pragma once
// Saves the checkpoints of one model, one after the other, while the model waits or while it goes on learning.
//
// A save is three phases of work without communication, and after each an agreement of all ranks that none has failed:
//   outline   rank 0 outlines the file in memory and makes it on disk    then all learn where the tensors lie
//   write     every rank writes its tensors, and flushes                 then rank 0 learns their checksums
//   publish   rank 0 adds what lies between them and the seal, renames
// Sync: the calling thread does the work. Async: all tensors are copied first, and a thread of its own does the work.

#include <array>
#include <chrono>
#include <functional>
#include <future>

#include "checkpoints/outline.hpp"
#include "checkpoints/staging.hpp"

namespace ulmpi {

enum class SaveMode { sync, async };

/// One checkpoint. All but `file` is rank 0's.
struct SaveRequest {
    std::filesystem::path file;
    nlohmann::json metadata;
    std::string tokenizer_json;
    /// Called on the thread that does the work when all but the renaming is done, and after it; both may throw Error.
    std::function<void()> before_publishing = nullptr, after_publishing = nullptr;
    const WideContent* wide = nullptr;  ///< must outlive the save; none: the file holds none
};

struct SaveResult {
    /// Disk full, folder gone, …: alike on every rank. The temporary file is gone then, and what stood under the final
    /// name is untouched.
    std::optional<std::string> failure;
    std::uint64_t bytes = 0;  ///< of the file; rank 0's
    double seconds = 0;       ///< of work, copying included, not of waiting for a look(): of each phase's slowest rank
};

/// Bytes that saves take beside the model on this rank: the staging's room, and pieces on their way to the disk. Pure.
std::size_t save_memory(const SavePlan& plan, SaveMode mode);

class CheckpointWriter {
public:
    /// Takes the memory for all saves. Everything must outlive this. `threads` share the copying. Collective over the
    /// grid, like all that follows.
    CheckpointWriter(const ParameterStore& store, const Moments& moments, const Topology& topology, SaveMode mode,
                     int threads = 1);

    /// Bytes that saves take beside the model, on this rank.
    std::size_t memory() const { return save_memory(plan_, mode_); }
    bool busy() const { return phase_ < phases; }

    /// Begins a save; none may be under way. When it returns in async mode, the model may change.
    void begin(SaveRequest request);
    /// Goes on to the next phase if all ranks are done with this one, without waiting for any. The result when that was
    /// the last. In sync mode the work is done here.
    std::optional<SaveResult> look() { return advance(false); }
    /// Does or waits for all that is left.
    SaveResult finish();

private:
    using Clock = std::chrono::steady_clock;
    static constexpr std::size_t phases = 3;

    std::optional<SaveResult> advance(bool wait);
    void start_phase();
    std::string work();
    void exchange();
    std::string write();
    void publish_file();
    SaveResult end(std::optional<std::string> failure);

    const Topology& topology_;
    const SavePlan plan_;
    const SaveMode mode_;
    const bool first_rank_;
    Staging staging_;
    SaveRequest request_;
    std::filesystem::path temporary_;
    std::optional<CheckpointOutline> outline_;
    std::vector<std::uint64_t> offsets_;  // of the jobs, in the file
    std::vector<std::uint32_t> crc32s_;   // of the jobs; 0 on the ranks that did not write them
    double spent_ = 0;                    // seconds of work in this phase, on this rank
    double seconds_ = 0;                  // in the phases before
    std::uint64_t bytes_ = 0;
    std::size_t phase_ = phases;     // idle
    std::future<std::string> work_;  // of the phase; what went wrong. Its destructor waits
};

}  // namespace ulmpi
