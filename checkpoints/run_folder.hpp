#pragma once
// Where a run keeps its checkpoints: RUN/checkpoints/step-00001000.h5.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/files/folder_lock.hpp"
#include "parallel/communicator.hpp"

namespace ulmpi {

/// Which checkpoints stay when another one has been published.
struct Keeping {
    std::size_t last = 0;     ///< so many of the newest; 0: all
    std::uint64_t every = 0;  ///< those whose step is a multiple of it; 0: none for that reason
    std::optional<std::uint64_t> best = std::nullopt;  ///< that of this step
};
/// Those of `steps`, which ascend, to be removed after that of step `newest` was published. What is newer was passed
/// over, or belongs to another try: it is left alone. Pure.
std::vector<std::uint64_t> steps_to_remove(std::vector<std::uint64_t> steps, const Keeping& keeping,
                                           std::uint64_t newest);

/// Paths and housekeeping. For one rank; nothing is cached.
class RunFolder {
public:
    explicit RunFolder(std::filesystem::path root) : root_(std::move(root)) {}

    const std::filesystem::path& root() const { return root_; }
    std::filesystem::path checkpoint_folder() const { return root_ / "checkpoints"; }
    std::filesystem::path checkpoint_path(std::uint64_t step) const;

    /// Makes the folder and that of its checkpoints. Throws UsageError saying why it cannot.
    void create() const;
    /// Keeps other processes out. UsageError naming the one that holds the run and does not let go within `patience`.
    FolderLock lock(std::chrono::seconds patience = std::chrono::seconds(0)) const;
    /// Makes the folder of checkpoints again if somebody has removed it from a run at work. That of the run must be
    /// there; what fails, the next save says.
    void restore_checkpoint_folder() const;

    /// Complete checkpoints, the oldest first. Content is not looked at: what bears a final name was whole when it got
    /// it. Throws UsageError where the folder is there and cannot be looked into.
    std::vector<std::filesystem::path> checkpoints() const;
    /// Of `checkpoints`, the oldest first: the newest that verifies, and a line for each newer one: its path and what
    /// is wrong with it. Verifying is shared. Collective; the same on all.
    struct Found {
        std::optional<std::filesystem::path> checkpoint;
        std::vector<std::string> passed_over;
    };
    static Found newest_verified(std::vector<std::filesystem::path> checkpoints, const Communicator& ranks);
    /// The same of its own checkpoints, as rank 0 sees them.
    Found newest_verified(const Communicator& ranks) const;

    /// Removes the checkpoints that need not stay (steps_to_remove). Throws Error.
    void prune(const Keeping& keeping, std::uint64_t newest) const;
    /// Renames the checkpoints above `step`: a run that goes on from there has left them behind, and the next one is
    /// not to take them for its own. Returns the new names. Throws Error.
    std::vector<std::filesystem::path> set_newer_aside(std::uint64_t step) const;
    /// Removes the half-written checkpoints that dead writers left (base/files/publish.hpp). Returns how many.
    std::size_t remove_stale_temporaries() const;

private:
    std::filesystem::path root_;
};

/// The name of a model that a folder holds as a whole, beside or without checkpoints: it is what the folder means.
constexpr const char* whole_model = "model.h5";

/// The checkpoint that a user means: a file itself, a folder's model.h5, a run folder's newest, or, where a word names
/// neither, the model of that name that comes with the program (shipped_model.hpp), its checksum verified. Throws
/// UsageError naming what was looked for.
std::filesystem::path resolve_checkpoint(const std::filesystem::path& meant);
/// All that a user means: a file itself, every complete checkpoint of a run folder, the oldest first, and its model.h5,
/// or the model of that name.
std::vector<std::filesystem::path> resolve_checkpoints(const std::filesystem::path& meant);
/// Which one was taken, as a line for the user, where `meant` could have been a model that comes with the program.
std::string choice_by_name(const std::string& meant, const std::filesystem::path& chosen);

}  // namespace ulmpi
