// How far the stages of a chain are: what Slurm says of the jobs, and what the runs have written.

#include <fmt/format.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "base/options/table.hpp"
#include "base/progress.hpp"
#include "base/quoted.hpp"
#include "checkpoints/run_folder.hpp"
#include "jobs/chain.hpp"
#include "jobs/slurm_queue.hpp"
#include "jobs/submit.hpp"
#include "parallel/run_main.hpp"
#include "training/metrics.hpp"

namespace ulmpi {
namespace {

namespace fs = std::filesystem;

/// What a run's metrics say last.
struct RunState {
    std::uint64_t step = 0, steps = 0;  ///< 0: nothing yet, not known
    std::optional<double> loss, seconds_left, error, valid_loss;
    bool finished = false;  ///< its last checkpoint is there, and was judged where it is to be
};

RunState run_state(const ChainRecord::Stage& stage, const fs::path& run) {
    RunState state;
    std::optional<std::uint64_t> judged_best;  // where training ended early, or might have
    std::ifstream file(run / "metrics.jsonl", std::ios::binary);
    for (std::string line; std::getline(file, line);) {
        const auto record = nlohmann::json::parse(line, nullptr, false);
        if (!record.is_object()) continue;
        const std::string kind = record.value("kind", "");
        if (record.contains("of_step")) judged_best = record.value("step", state.step);
        if (kind == "train") {
            state.step = record.value("step", state.step);
            state.steps = record.value("steps", state.steps);
            if (record["loss"].is_number()) state.loss = record["loss"].get<double>();
            const double speed = record["tokens_per_s"].is_number() ? record["tokens_per_s"].get<double>() : 0;
            const double tokens = record.value("tokens", 0.0);
            if (speed > 0 && state.step > 0 && state.steps >= state.step)
                state.seconds_left =
                    static_cast<double>(state.steps - state.step) * tokens / static_cast<double>(state.step) / speed;
        } else if (kind == "valid" && record.contains("loss") && record["loss"].is_number()) {
            state.valid_loss = record["loss"].get<double>();
        } else if (kind == "test" && record.contains("error") && record["error"].is_number()) {
            state.error = record["error"].get<double>();
        }
    }
    std::error_code failure;
    const std::uint64_t last = judged_best.value_or(state.steps);
    state.finished = state.steps > 0 && fs::exists(RunFolder(run).checkpoint_path(last), failure) &&
                     (!stage.evaluates || holds_evaluation(run / "metrics.jsonl", last, judged_best.has_value()));
    return state;
}

const char* const gone = "gone from the queue";  // Slurm forgets jobs some minutes after their end

// "complete" is what the run says; where it is not, the job explains why.
std::string state_of(const ChainRecord::Stage& stage, const RunState& run,
                     const std::map<std::string, QueuedJob>& queue) {
    const auto job = queue.find(stage.job);
    if (job != queue.end() && job->second.is_alive()) {
        std::string state = job->second.state;
        std::transform(state.begin(), state.end(), state.begin(), [](unsigned char c) { return std::tolower(c); });
        const bool says_why = state == "pending" && job->second.reason != "None" && !job->second.reason.empty();
        return says_why ? fmt::format("{} ({})", state, job->second.reason) : state;
    }
    if (run.finished) return "complete";
    if (job == queue.end()) return stage.job.empty() ? "not submitted" : gone;
    std::string state = job->second.state;
    std::transform(state.begin(), state.end(), state.begin(), [](unsigned char c) { return std::tolower(c); });
    return "stopped: " + state;
}

void show(const fs::path& folder, const ChainRecord& chain, bool for_people) {
    std::vector<std::string> ids;
    for (const ChainRecord::Stage& stage : chain.stages)
        if (!stage.job.empty()) ids.push_back(stage.job);
    std::optional<std::map<std::string, QueuedJob>> queue;
    try {
        queue = queued_jobs(ids);
    } catch (const UsageError& silence) {  // what the runs have written is there all the same
        fmt::print(stderr, "note: {}\n", silence.what());
    }
    const auto print = [&](const std::string& line) {
        if (for_people)
            print_line(line);
        else
            fmt::print(stderr, "{}\n", line);
    };
    const char* row = "{:20} {:>8}  {:24} {:>17} {:>9} {:>9} {:>8} {:>14}  {}";
    print(fmt::format("{} ({})", folder.string(), chain.config));
    print(fmt::format(fmt::runtime(row), "stage", "job", "state", "step", "loss", "valid", "error", "left", "run"));
    for (const ChainRecord::Stage& stage : chain.stages) {
        const RunState run = run_state(stage, fs::path(chain.working_folder) / stage.run);
        const std::string state = queue ? state_of(stage, run, *queue) : run.finished ? "complete" : "unknown";
        const bool runs = state == "running";
        const auto decimals = [](const std::optional<double>& value) {
            return value ? fmt::format("{:.4f}", *value) : std::string("-");
        };
        print(fmt::format(fmt::runtime(row), stage.command, stage.job.empty() ? "-" : stage.job, state,
                          run.step == 0 ? "-" : fmt::format("{} of {}", run.step, run.steps), decimals(run.loss),
                          decimals(run.valid_loss), run.error ? fmt::format("{:.2f} %", 100 * *run.error) : "-",
                          runs && run.seconds_left ? format_duration(*run.seconds_left) : "-", stage.run));
        if (!for_people) {
            Record line{{"kind", "status"}, {"stage", stage.command}, {"run", stage.run}, {"state", state}};
            if (!stage.job.empty()) line["job"] = stage.job;
            line["step"] = run.step;
            line["steps"] = run.steps;
            if (run.loss) line["loss"] = *run.loss;
            if (run.valid_loss) line["valid_loss"] = *run.valid_loss;
            if (run.error) line["error"] = *run.error;
            if (runs && run.seconds_left) line["seconds_left"] = number(std::round(*run.seconds_left));
            print_json(line);
        }
        if (state.starts_with("stopped") || state == gone) print("  its log: " + stage.log);
    }
}

std::vector<fs::path> chains_here() {
    std::vector<fs::path> folders;
    for (const fs::directory_entry& entry : fs::directory_iterator("."))
        if (entry.path().extension() == ".jobs" && fs::exists(entry.path() / "chain.json"))
            folders.push_back(entry.path().filename());
    std::sort(folders.begin(), folders.end());
    check_usage(!folders.empty(), "no chain was submitted from this folder: name its folder of jobs");
    return folders;
}

}  // namespace

int status_command(std::span<const std::string> arguments, const Communicator& world) {
    std::vector<std::string> jobs;
    OptionTable table(
        "status",
        "Shows how far the stages are that ulmpi submit sent to Slurm: a table on a terminal, elsewhere a "
        "line of JSON for each stage (and the table on standard error).");
    table.group("Status");
    table.add("jobs", jobs, "folders of jobs that submit made; default: all *.jobs here", "DIR");
    table.positional("jobs");
    table.example("");
    table.example("three-stages.jobs");
    if (!together(world, [&] { return table.parse(arguments); })) return 0;
    check_usage(world.size() == 1, "status works alone: start it without mpirun");
    std::vector<fs::path> folders(jobs.begin(), jobs.end());
    if (folders.empty()) folders = chains_here();
    for (const fs::path& folder : folders) {
        const std::optional<ChainRecord> chain = ChainRecord::load(folder);
        check_usage(chain.has_value(), "{} holds no chain.json: it is not a folder that submit made", quoted(folder));
        show(folder, *chain, ::isatty(STDOUT_FILENO) == 1);
    }
    return 0;
}

}  // namespace ulmpi
