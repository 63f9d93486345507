#pragma once
// The facts of a run, gathered by rank 0 and shared: the one island of reading before a run is resolved.

#include <functional>
#include <optional>

#include "checkpoints/run_folder.hpp"
#include "data/tokenizer/tokenizer.hpp"
#include "training/facts.hpp"
#include "training/layout.hpp"
#include "training/training_options.hpp"

namespace ulmpi {

/// The facts, alike on all ranks, and what rank 0 keeps in hand.
struct Gathered {
    Facts facts;
    Cores cores;                         ///< this rank's view
    std::optional<FolderLock> lock;      ///< of the run's folder, if that is there: held before it is looked at.
                                         ///< run_training takes it where it makes the folder.
    std::optional<Tokenizer> tokenizer;  ///< of the checkpoint that the run goes on from or begins with
    WideContent wide;                    ///< of the same
};

/// Where a run goes on: at the newest of its own checkpoints that verifies (what was passed over is said), at one that
/// was named, or nowhere: then it begins with the weights of --init-from, or with none. Rank 0 looks, the ranks verify
/// together; rank 0 reads the checkpoint and then calls `read_inputs`, which adds what the data say, and must not
/// communicate. Collective; UsageError alike on all: what cannot be read, --resume never with a run that is there, a
/// run whose checkpoints are all unusable or which another process holds.
Gathered gather(const StageOptions& asked, const Communicator& world,
                const std::function<void(Gathered& so_far)>& read_inputs);

}  // namespace ulmpi
