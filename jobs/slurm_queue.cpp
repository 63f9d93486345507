#include "jobs/slurm_queue.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <sstream>
#include <string_view>

#include "base/error.hpp"
#include "base/subprocess.hpp"

namespace ulmpi {
namespace {

constexpr std::string_view overriding = "SBATCH_";

// Of the environment: what was said to or by the job in which somebody submits, and what would win over the script.
// What says which Slurm, and who asks, stays.
bool means_another_job(const std::string& variable) {
    constexpr std::array<std::string_view, 3> stays{"SLURM_CONF=", "SLURM_CLUSTERS=", "SLURM_JWT="};
    if (variable.starts_with(overriding)) return true;
    return variable.starts_with("SLURM_") &&
           std::ranges::none_of(stays, [&](std::string_view name) { return variable.starts_with(name); });
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

bool QueuedJob::is_alive() const {
    constexpr std::array<std::string_view, 11> ended{"BOOT_FAIL", "CANCELLED",    "COMPLETED",     "DEADLINE",
                                                     "FAILED",    "NODE_FAIL",    "OUT_OF_MEMORY", "PREEMPTED",
                                                     "REVOKED",   "SPECIAL_EXIT", "TIMEOUT"};
    return std::find(ended.begin(), ended.end(), state) == ended.end();
}

std::map<std::string, QueuedJob> queued_jobs(const std::vector<std::string>& ids) {
    std::map<std::string, QueuedJob> jobs;
    for (const std::string& id : ids) {  // one at a time: a list with an id that is gone is refused whole
        const Finished squeue =
            run_program({"squeue", "--noheader", "--states=all", "--format=%i|%T|%r", "--jobs=" + id});
        check_usage(squeue.status == 0 || squeue.errors.find("Invalid job id") != std::string::npos,
                    "Slurm cannot be asked: {}", first_line(squeue.errors));
        std::istringstream fields(first_line(squeue.output));
        std::string known, state, reason;
        if (std::getline(fields, known, '|') && std::getline(fields, state, '|') && std::getline(fields, reason))
            jobs[id] = {state, reason};
    }
    return jobs;
}

std::string submit_job(const std::string& script, const std::string& after) {
    std::vector<std::string> words{"sbatch", "--parsable"};
    if (!after.empty()) words.insert(words.end(), {"--dependency=afterok:" + after, "--kill-on-invalid-dep=yes"});
    words.push_back(script);
    const Finished sbatch = run_program(words, means_another_job);
    check(sbatch.status != 127, "there is no Slurm here ({}): --dry-run shows the jobs", first_line(sbatch.errors));
    check(sbatch.status == 0, "sbatch refused {}: {}", script, first_line(sbatch.errors));
    const std::string id = sbatch.output.substr(0, sbatch.output.find_first_of(";\n"));  // "id;cluster"
    check(!id.empty(), "sbatch named no job for {}", script);
    return id;
}

std::vector<std::string> overriding_variables() {
    std::vector<std::string> names;
    for (char** variable = environ; *variable != nullptr; ++variable)
        if (const std::string_view text = *variable; text.starts_with(overriding))
            names.emplace_back(text.substr(0, text.find('=')));
    return names;
}

void cancel_job(const std::string& id) { run_program({"scancel", id}); }

}  // namespace ulmpi
