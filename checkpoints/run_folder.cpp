#include "checkpoints/run_folder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <string_view>

#include "base/error.hpp"
#include "base/files/publish.hpp"
#include "base/files/seal.hpp"
#include "base/quoted.hpp"
#include "checkpoints/checkpoint.hpp"
#include "checkpoints/shipped_model.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view prefix = "step-", suffix = ".h5";

// The step in the name of a complete checkpoint.
std::optional<std::uint64_t> step_of(const fs::path& path) {
    const std::string name = path.filename().string();
    if (!name.starts_with(prefix) || !name.ends_with(suffix) || name.size() <= prefix.size() + suffix.size()) return {};
    const char* const end = name.data() + name.size() - suffix.size();
    std::uint64_t step = 0;
    const auto [parsed, failure] = std::from_chars(name.data() + prefix.size(), end, step);
    return failure == std::errc() && parsed == end ? std::optional(step) : std::nullopt;
}

std::vector<fs::path> checkpoints_in(const fs::path& folder) {
    std::vector<fs::path> found;
    std::error_code failure, ignored;
    fs::directory_iterator entry(folder, failure);
    if (failure == std::errc::no_such_file_or_directory || failure == std::errc::not_a_directory) return found;
    // What cannot be opened, such as a link to what is gone, is for those who verify to name.
    for (; !failure && entry != fs::directory_iterator(); entry.increment(failure))
        if (step_of(entry->path()) && !entry->is_directory(ignored)) found.push_back(entry->path());
    check_usage(!failure, "cannot look into {}: {}", quoted(folder), failure.message());
    std::ranges::sort(found, {}, [](const fs::path& path) { return *step_of(path); });
    return found;
}

}  // namespace

std::vector<std::uint64_t> steps_to_remove(std::vector<std::uint64_t> steps, const Keeping& keeping,
                                           std::uint64_t newest) {
    std::erase_if(steps, [&](std::uint64_t step) { return step > newest; });
    if (keeping.last == 0 || steps.size() <= keeping.last) return {};
    steps.resize(steps.size() - keeping.last);
    std::erase_if(steps, [&](std::uint64_t step) {
        return step == keeping.best || (keeping.every > 0 && step % keeping.every == 0);
    });
    return steps;
}

fs::path RunFolder::checkpoint_path(std::uint64_t step) const {
    return checkpoint_folder() / fmt::format("{}{:08}{}", prefix, step, suffix);
}

void RunFolder::create() const {
    std::error_code failure;
    fs::create_directories(checkpoint_folder(), failure);
    check_usage(!failure, "cannot make the folder {}: {}", quoted(checkpoint_folder()), failure.message());
}

void RunFolder::restore_checkpoint_folder() const {
    std::error_code ignored;
    fs::create_directory(checkpoint_folder(), ignored);
}

std::vector<fs::path> RunFolder::checkpoints() const { return checkpoints_in(checkpoint_folder()); }

RunFolder::Found RunFolder::newest_verified(const Communicator& ranks) const {
    std::vector<std::uint64_t> steps;
    leader_alone(ranks, [&] {
        for (const fs::path& path : checkpoints()) steps.push_back(*step_of(path));
    });
    std::vector<fs::path> found;
    for (std::uint64_t step : ranks.all_gather(std::span<const std::uint64_t>(steps)))
        found.push_back(checkpoint_path(step));
    return newest_verified(std::move(found), ranks);
}

RunFolder::Found RunFolder::newest_verified(std::vector<fs::path> checkpoints, const Communicator& ranks) {
    Found found;
    for (; !checkpoints.empty(); checkpoints.pop_back()) try {
            verify_seal_together(checkpoints.back(), ranks);
            found.checkpoint = checkpoints.back();
            return found;
        } catch (const UsageError& damage) {  // the same on every rank
            found.passed_over.emplace_back(damage.what());
        }
    return found;
}

void RunFolder::prune(const Keeping& keeping, std::uint64_t newest) const {
    std::vector<std::uint64_t> steps;
    std::map<std::uint64_t, fs::path> paths;
    for (const fs::path& path : checkpoints()) {
        steps.push_back(*step_of(path));
        paths[steps.back()] = path;
    }
    for (std::uint64_t step : steps_to_remove(steps, keeping, newest)) {
        std::error_code failure;
        fs::remove(paths[step], failure);
        check(!failure, "cannot remove the old checkpoint {}: {}", quoted(paths[step]), failure.message());
    }
}

std::vector<fs::path> RunFolder::set_newer_aside(std::uint64_t step) const {
    std::vector<fs::path> aside;
    for (const fs::path& path : checkpoints())
        if (*step_of(path) > step) aside.push_back(set_aside(path));
    return aside;
}

FolderLock RunFolder::lock(std::chrono::seconds patience) const {
    return {root_, "wait for that run, end it, or give another --run", patience};
}

std::size_t RunFolder::remove_stale_temporaries() const {
    return ulmpi::remove_stale_temporaries(checkpoint_folder(),
                                           [](const std::string& name) { return step_of(name).has_value(); });
}

std::vector<fs::path> resolve_checkpoints(const fs::path& meant) {
    std::error_code failure;
    const fs::file_status status = fs::status(meant, failure);
    if (fs::exists(status) && !fs::is_directory(status)) return {meant};
    std::vector<fs::path> found = RunFolder(meant).checkpoints();
    if (found.empty()) found = checkpoints_in(meant);
    if (fs::exists(meant / whole_model, failure)) found.push_back(meant / whole_model);
    if (!found.empty()) return found;
    if (const std::optional<fs::path> shipped = find_shipped_model(meant.string())) {
        check_shipped_model(*shipped);
        return {*shipped};
    }
    std::string problem = fs::exists(status) ? fmt::format("{} holds no checkpoint: looked for {}, {} and {}",
                                                           quoted(meant), quoted(meant / "checkpoints" / "step-*.h5"),
                                                           quoted(meant / "step-*.h5"), quoted(meant / whole_model))
                                             : fmt::format("there is no run folder or checkpoint {}", quoted(meant));
    std::string places;
    for (const fs::path& place : shipped_model_places(meant.string()))
        places += (places.empty() ? "" : ", ") + quoted(place);
    if (!places.empty()) problem += "; nor does a model of that name come with the program: looked for " + places;
    throw UsageError(problem);
}

fs::path resolve_checkpoint(const fs::path& meant) { return resolve_checkpoints(meant).back(); }

std::string choice_by_name(const std::string& meant, const fs::path& chosen) {
    const std::optional<fs::path> shipped = find_shipped_model(meant);
    if (!shipped) return {};
    if (chosen == *shipped) return fmt::format("{} is {}, which comes with the program", meant, quoted(chosen));
    return fmt::format("note: {} is {} of this folder, not {}, which comes with the program", meant, quoted(chosen),
                       quoted(*shipped));
}

}  // namespace ulmpi
