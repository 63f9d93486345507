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

}  // namespace

std::optional<RunLock> lock_run(const RunOptions& run, const Communicator& world) {
    // Of a job that came back from a node that is lost, the lock may outlive the process by a lease of the file system.
    const std::chrono::seconds patience(came_back() ? 180 : 0);
    std::optional<RunLock> lock;
    together(world, [&] {
        if (world.rank() == 0 && std::filesystem::is_directory(run.run)) lock.emplace(RunFolder(run.run), patience);
    });
    return lock;
}

std::optional<StoredModel> model_to_resume(const RunOptions& run, const Communicator& world) {
    // The other two are for its first start. Rank 0's environment counts: what follows is collective.
    const std::string resume = broadcast_value(came_back(), world, 0) ? "auto" : run.resume;
    if (resume != "auto" && resume != "never") return open_model(resume, world);
    if (resume == "never") {
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
    if (!found.checkpoint) return std::nullopt;
    return open_model(found.checkpoint->string(), world, true);
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
