#include "checkpoints/run_folder.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <fstream>
#include <map>
#include <string_view>

#include "checkpoints/checkpoint.hpp"
#include "data/file_seal.hpp"
#include "data/quoted.hpp"
#include "parallel/error.hpp"

namespace ulmpi {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view prefix = "step-", suffix = ".h5", temporary_mark = ".h5.tmp-";

std::string host_name() {
    std::array<char, 256> name{};
    ::gethostname(name.data(), name.size() - 1);
    return name.data();
}

template <class Number>
std::optional<Number> number_in(std::string_view digits) {
    Number number = 0;
    const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (digits.empty() || failure != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
    return number;
}

// The step in the name of a complete checkpoint.
std::optional<std::uint64_t> step_of(const fs::path& path) {
    const std::string name = path.filename().string();
    if (!name.starts_with(prefix) || !name.ends_with(suffix) || name.size() <= prefix.size() + suffix.size()) return {};
    return number_in<std::uint64_t>(
        std::string_view(name).substr(prefix.size(), name.size() - prefix.size() - suffix.size()));
}

std::vector<fs::path> checkpoints_in(const fs::path& folder) {
    std::vector<fs::path> found;
    std::error_code failure;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, failure))
        if (step_of(entry.path()) && entry.is_regular_file(failure)) found.push_back(entry.path());
    std::ranges::sort(found, {}, [](const fs::path& path) { return *step_of(path); });
    return found;
}

// Ended, be it that nobody has asked for its status yet (a zombie).
bool has_ended(pid_t process) {
    if (::kill(process, 0) != 0 && errno == ESRCH) return true;
    std::ifstream stat(fmt::format("/proc/{}/stat", process));
    std::string text;
    std::getline(stat, text);
    const std::size_t name_end = text.rfind(") ");
    return name_end != std::string::npos && (text[name_end + 2] == 'Z' || text[name_end + 2] == 'X');
}

bool is_stale(const fs::path& temporary, const std::string& host) {
    const std::string name = temporary.filename().string();
    const std::string owner = name.substr(name.find(temporary_mark) + temporary_mark.size());
    const auto dash = owner.rfind('-');
    if (dash == std::string::npos) return false;
    if (const auto process = number_in<pid_t>(std::string_view(owner).substr(dash + 1));
        process && *process > 0 && owner.substr(0, dash) == host)
        return has_ended(*process);
    std::error_code failure;
    const auto written = fs::last_write_time(temporary, failure);
    return !failure && fs::file_time_type::clock::now() - written > std::chrono::hours(24);
}

}  // namespace

fs::path temporary_checkpoint_name(const fs::path& final_name) {
    return final_name.parent_path() /
           fmt::format(".{}.tmp-{}-{}", final_name.filename().string(), host_name(), ::getpid());
}

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
    check_usage(!failure, "cannot make the folder " + quoted(checkpoint_folder()) + ": " + failure.message());
}

std::vector<fs::path> RunFolder::checkpoints() const { return checkpoints_in(checkpoint_folder()); }

RunFolder::Found RunFolder::newest_verified(const Communicator& ranks) const {
    std::vector<std::uint64_t> steps;
    if (ranks.rank() == 0)
        for (const fs::path& path : checkpoints()) steps.push_back(*step_of(path));
    steps = ranks.all_gather(std::span<const std::uint64_t>(steps));
    Found found;
    for (; !steps.empty(); steps.pop_back()) try {
            verify_seal_together(checkpoint_path(steps.back()), ranks);
            found.checkpoint = checkpoint_path(steps.back());
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
        check(!failure, "cannot remove the old checkpoint " + quoted(paths[step]) + ": " + failure.message());
    }
}

std::size_t RunFolder::remove_stale_temporaries() const {
    std::vector<fs::path> stale;
    std::error_code failure;
    const std::string host = host_name();
    for (const fs::directory_entry& entry : fs::directory_iterator(checkpoint_folder(), failure)) {
        const std::string name = entry.path().filename().string();
        if (name.starts_with("." + std::string(prefix)) && name.find(temporary_mark) != std::string::npos &&
            entry.is_regular_file(failure) && is_stale(entry.path(), host))
            stale.push_back(entry.path());
    }
    for (const fs::path& path : stale) fs::remove(path, failure);
    return stale.size();
}

RunLock::RunLock(const RunFolder& run) : file_(run.root() / ".lock", O_RDWR | O_CREAT) {
    check_usage(file_.is_open(), "cannot make " + quoted(run.root() / ".lock") + ": " + system_reason());
    if (!file_.try_lock()) {
        std::array<char, 300> holder{};
        const std::size_t length = file_.read(holder.data(), holder.size() - 1);
        throw UsageError(fmt::format("{} is in use by {}: wait for that run, end it, or give another --run",
                                     quoted(run.root()), length > 0 ? holder.data() : "another process"));
    }
    const std::string me = fmt::format("process {} on {}", ::getpid(), host_name());
    file_.truncate();
    file_.write_at(0, me.data(), me.size());
}

std::vector<fs::path> resolve_checkpoints(const fs::path& run_or_file) {
    std::error_code failure;
    const fs::file_status status = fs::status(run_or_file, failure);
    check_usage(fs::exists(status), "there is no run folder or checkpoint " + quoted(run_or_file));
    if (!fs::is_directory(status)) return {run_or_file};
    std::vector<fs::path> found = RunFolder(run_or_file).checkpoints();
    if (found.empty()) found = checkpoints_in(run_or_file);
    check_usage(!found.empty(), quoted(run_or_file) + " holds no checkpoint: looked for " +
                                    quoted(run_or_file / "checkpoints" / "step-*.h5") + " and " +
                                    quoted(run_or_file / "step-*.h5"));
    return found;
}

fs::path resolve_checkpoint(const fs::path& run_or_file) { return resolve_checkpoints(run_or_file).back(); }

}  // namespace ulmpi
