#include "pretrain/resuming.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <string_view>

#include "checkpoints/checkpoint.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

// In a job that Slurm has started before.
bool came_back() {
    const char* restarts = std::getenv("SLURM_RESTART_COUNT");
    return restarts != nullptr && *restarts != 0 && std::string_view(restarts) != "0";
}

StoredModel resumable(StoredModel stored, const Communicator& world) {
    together(world, [&] {
        check_usage(stored.info.has_moments,
                    fmt::format("{} holds weights without the optimizer's moments: a run can start from it "
                                "(--init-from), but not be resumed",
                                stored.path.string()));
    });
    return stored;
}

}  // namespace

std::optional<FolderLock> lock_run(const RunOptions& run, const Communicator& world) {
    // Of a job that came back from a node that is lost, the lock may outlive the process by a lease of the file system.
    const std::chrono::seconds patience(came_back() ? 180 : 0);
    std::optional<FolderLock> lock;
    together(world, [&] {
        if (world.rank() == 0 && std::filesystem::is_directory(run.run))
            lock.emplace(RunFolder(run.run).lock(patience));
    });
    return lock;
}

std::optional<StoredModel> model_to_resume(const RunOptions& run, const Communicator& world) {
    const bool names_one = run.resume != "auto" && run.resume != "never";
    // What a job has saved itself counts when it comes back. Rank 0's environment decides: what follows is collective.
    const bool again = broadcast_value(came_back(), world, 0);
    if (names_one && !again) return resumable(open_model(run.resume, world), world);
    if (run.resume == "never" && !again) {
        together(world, [&] {
            check_usage(
                RunFolder(run.run).checkpoints().empty(),
                fmt::format("{} holds a run already: give another --run, or --resume auto to go on with it", run.run));
        });
        return std::nullopt;
    }
    const RunFolder::Found found = RunFolder(run.run).newest_verified(world);
    together(world, [&] {
        check_usage(
            found.checkpoint || found.passed_over.empty(),
            fmt::format("{} has checkpoints, but none can be used: {}", run.run, fmt::join(found.passed_over, "; ")));
    });
    if (world.rank() == 0)
        for (const std::string& damage : found.passed_over) fmt::print(stderr, "note: passed over: {}\n", damage);
    if (found.checkpoint) return resumable(open_model(found.checkpoint->string(), world, true), world);
    return names_one ? std::optional(resumable(open_model(run.resume, world), world)) : std::nullopt;
}

std::string command_to_go_on(const RunOptions& run) {
    return run.resume == "auto" ? "the same command" : "the same command with --resume auto";
}

Progress resume_from(const StoredModel& stored, RankModel& model) {
    load_checkpoint(stored.path, model.store, {model.optimizer->first_moments(), model.optimizer->second_moments()},
                    model.topology, {.verified = true});
    const nlohmann::json& p = stored.info.metadata.at("progress");
    p.at("updates_by_group").get_to(model.optimizer->updates_by_group());
    const Progress progress = progress_from(p);
    if (model.topology.all.rank() == 0)
        fmt::print(stderr, "going on from {} (step {})\n", stored.path.string(), progress.step);
    return progress;
}

}  // namespace ulmpi
