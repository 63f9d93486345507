#include "training/gather.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <string_view>
#include <vector>

#include "parallel/run_main.hpp"
#include "training/profile.hpp"

namespace ulmpi {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// In a job that Slurm has started before.
bool came_back() {
    const char* restarts = std::getenv("SLURM_RESTART_COUNT");
    return restarts != nullptr && *restarts != 0 && std::string_view(restarts) != "0";
}

// What rank 0 finds, on every rank. Binary, which unlike text takes names of files and classes that are not UTF-8.
template <class Body>
json found_by_leader(const Communicator& world, Body body) {
    return json::from_cbor(from_leader(world, [&] {
        std::string found;
        json::to_cbor(body(), found);
        return found;
    }));
}

// Rank 0: the run's own checkpoints, the oldest first; where there are none, another file that it starts from.
json possible_starts(const StageOptions& asked, std::optional<FolderLock>& lock) {
    const RunFolder folder(asked.run.run);
    const std::string& resume = asked.run.resume;
    check_usage(!fs::exists(folder.root() / whole_model),
                "--run {} is the folder of a model that ulmpi fit has made: name another", asked.run.run);
    // What a job has saved itself counts when it comes back. On a node that is lost, the lock may have outlived the
    // process by a lease of the file system.
    const bool again = came_back(), names_one = resume != "auto" && resume != "never";
    if (fs::is_directory(asked.run.run)) lock.emplace(folder.lock(std::chrono::seconds(again ? 180 : 0)));
    json starts{{"own", json::array()}, {"other", ""}, {"resumes", names_one}};
    if (resume == "never" && !again)
        check_usage(folder.checkpoints().empty(),
                    "{} holds a run already: give another --run, or --resume auto to go on with it", asked.run.run);
    else if (!names_one || again)
        for (const fs::path& path : folder.checkpoints()) starts["own"].push_back(path.string());
    if (const std::string& other = names_one ? resume : asked.init_from; starts["own"].empty() && !other.empty()) {
        const fs::path chosen = resolve_checkpoint(other);
        if (const std::string choice = choice_by_name(other, chosen); !choice.empty())
            fmt::print(stderr, "{}\n", choice);
        starts["other"] = chosen.string();
    }
    return starts;
}

struct Start {
    std::string checkpoint;  ///< empty: none
    bool resumes = false;
};

// Collective: which of the possible starts verifies.
Start verified_start(const json& starts, const std::string& run, const Communicator& world) {
    const auto own = starts.at("own").get<std::vector<std::string>>();
    if (own.empty()) {
        const auto other = starts.at("other").get<std::string>();
        if (!other.empty()) verify_seal_together(other, world);
        return {other, starts.at("resumes").get<bool>()};
    }
    const RunFolder::Found found = RunFolder::newest_verified({own.begin(), own.end()}, world);
    check_usage(found.checkpoint.has_value(), "{} has checkpoints, but none can be used: {}", run,
                fmt::join(found.passed_over, "; "));
    if (world.rank() == 0)
        for (const std::string& damage : found.passed_over) fmt::print(stderr, "note: passed over: {}\n", damage);
    return {found.checkpoint->string(), true};
}

}  // namespace

Gathered gather(const StageOptions& asked, const Communicator& world,
                const std::function<void(Gathered&)>& read_inputs) {
    Gathered gathered;
    gathered.cores = find_cores(world);
    const json starts = found_by_leader(world, [&] { return possible_starts(asked, gathered.lock); });
    const Start start = verified_start(starts, asked.run.run, world);
    gathered.facts.ranks = world.size();
    gathered.facts.threads = gathered.cores.threads;
    gathered.facts.resumed = start.resumes;
    gathered.facts = facts_from(found_by_leader(world, [&] {
        check_profile(asked.run.profile);
        if (!start.checkpoint.empty()) {
            const CheckpointInfo info = read_checkpoint_info(start.checkpoint, true);
            check_usage(info.has_moments || !start.resumes,
                        "{} holds weights without the optimizer's moments: a run can start from it "
                        "(--init-from), but not be resumed",
                        start.checkpoint);
            gathered.tokenizer = Tokenizer::from_json(info.tokenizer_json, start.checkpoint);
            gathered.wide = info.wide;
            gathered.facts.source = facts_of(start.checkpoint, info);
            check_usage(gathered.facts.source->record.saved || !start.resumes,
                        "{} does not say how far its run was: it cannot be resumed", start.checkpoint);
            gathered.facts.tokenizer = facts_of(*gathered.tokenizer);
        }
        read_inputs(gathered);
        return to_json(gathered.facts);
    }));
    return gathered;
}

}  // namespace ulmpi
