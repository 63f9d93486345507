#pragma once
// A stage of training as a Slurm job: a template that a user may have edited, with what is asked for put into it.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/options/table.hpp"

namespace ulmpi {

/// What a job asks of Slurm. What is not set stays as the template has it.
struct JobRequest {
    std::optional<std::int64_t> nodes, ranks_per_node, cpus_per_rank;
    std::optional<std::string> time, grace, partition, account, launcher;
    std::vector<std::string> sbatch;  ///< any other options of sbatch, "--constraint=avx512"

    void declare(OptionTable& table);
    /// Throws UsageError naming an option whose text cannot be read, or a time that leaves nothing before the signal.
    void validate(const OptionTable& table) const;
};

/// What a job runs.
struct JobWork {
    std::string name;                ///< as squeue shows it
    std::string folder;              ///< where it runs; absolute
    std::string log;                 ///< %j is the job's id
    std::string program;             ///< ulmpi itself; absolute
    std::vector<std::string> words;  ///< its arguments
};

/// The template that scripts/job.sbatch is.
const std::string& built_in_job_template();

/// `job_template` with the lines #SBATCH --key=value of the request and the work: one that stands there is replaced,
/// others follow the last one; then `set -- words` and the program. Throws UsageError if the template begins with no
/// "#!" or does not use "$@".
std::string job_script(const std::string& job_template, const JobRequest& request, const JobWork& work);

/// A word as bash reads it back.
std::string shell_word(const std::string& word);

/// Seconds of a limit of time: ours ("90s", "30m", "2h", "1d") or Slurm's ("30" minutes, "1-12:00", "12:00:00").
std::optional<double> seconds_of_limit(const std::string& text);
/// As Slurm writes it, "1-02:03:04", rounded up to whole seconds.
std::string slurm_time(double seconds);

}  // namespace ulmpi
