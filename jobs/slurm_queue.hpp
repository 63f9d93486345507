#pragma once
// The door to Slurm: sbatch, squeue, scancel. One rank.

#include <map>
#include <string>
#include <vector>

namespace ulmpi {

/// A job as squeue knows it.
struct QueuedJob {
    std::string state;   ///< "PENDING", "RUNNING", "FAILED", …
    std::string reason;  ///< why it waits: "Dependency", "Resources", …

    /// Whether it will run, runs, or comes back.
    bool is_alive() const;
};

/// Those of the jobs that Slurm still knows, ended ones for some minutes, by id. Throws UsageError where Slurm cannot
/// be asked.
std::map<std::string, QueuedJob> queued_jobs(const std::vector<std::string>& ids);

/// Submits a script, to start once the job `after` (empty: none) has ended well; returns its id. Throws Error with
/// sbatch's words. Of the environment it does not get what the job that we may be in was
/// told (SLURM_*, but for which Slurm and who asks) nor what would win over the script (SBATCH_*).
std::string submit_job(const std::string& script, const std::string& after);

/// The names of the variables that would win over the scripts and that submit_job therefore leaves out.
std::vector<std::string> overriding_variables();

/// Takes a job out of the queue, if it is there.
void cancel_job(const std::string& id);

}  // namespace ulmpi
