#include "jobs/job_script.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "base/error.hpp"
#include "training/wall_clock.hpp"

namespace ulmpi {
namespace {

constexpr std::string_view directive = "#SBATCH ";

// "--time" of "#SBATCH --time=1:00" and of "#SBATCH --requeue"; empty: no such line.
std::string key_of(const std::string& line) {
    if (!line.starts_with(directive)) return "";
    const std::string rest = line.substr(directive.size());
    return rest.substr(0, rest.find_first_of("= \t"));
}

std::vector<std::string> directives(const JobRequest& request, const JobWork& work) {
    std::vector<std::string> lines;
    const auto add = [&](const char* key, const auto& value) {  // sbatch reads quotes as a shell does
        lines.push_back(fmt::format("--{}={}", key, shell_word(fmt::format("{}", value))));
    };
    const auto add_if = [&](const char* key, const auto& value) {
        if (value) add(key, *value);
    };
    add("job-name", work.name);
    add_if("nodes", request.nodes);
    add_if("ntasks-per-node", request.ranks_per_node);
    add_if("cpus-per-task", request.cpus_per_rank);
    if (request.time) add("time", slurm_time(seconds_of_limit(*request.time).value_or(0)));
    if (request.grace) add("signal", fmt::format("B:USR1@{:.0f}", std::ceil(seconds_from(*request.grace).value_or(0))));
    add_if("partition", request.partition);
    add_if("account", request.account);
    add("chdir", work.folder);
    add("output", work.log);
    lines.insert(lines.end(), request.sbatch.begin(), request.sbatch.end());
    return lines;
}

std::string value_of(const std::string& line) {
    const std::size_t equals = line.find('=');
    return equals == std::string::npos ? "" : line.substr(equals + 1);
}

// Seconds. A job that is told to stop before it has begun in earnest would come back for ever.
bool leaves_time_to_work(double limit, double grace) { return 2 * grace <= limit; }

// What the template says counts as well.
void check_grace(const std::vector<std::string>& lines, std::size_t end) {
    std::optional<double> limit, grace;
    for (std::size_t i = 0; i < end; ++i) {
        const std::string key = key_of(lines[i]), value = value_of(lines[i]);
        if (key == "--time") limit = seconds_of_limit(value);
        if (key == "--signal" && value.find('@') != std::string::npos)
            grace = seconds_from(value.substr(value.find('@') + 1) + "s");
    }
    check_usage(!limit || !grace || *limit == 0 || leaves_time_to_work(*limit, *grace),
                "a job of {:.0f} s that is told to stop {:.0f} s before its end has no time to work: give more "
                "--time, or less --grace",
                limit.value_or(0), grace.value_or(0));
}

}  // namespace

void JobRequest::declare(OptionTable& table) {
    table.group("Of each job (not given: as the template has it)");
    table.add("nodes", nodes, "nodes of a job");
    table.range("nodes", 1, 1e6);
    table.add("ranks-per-node", ranks_per_node, "MPI ranks on each node");
    table.range("ranks-per-node", 1, 1e5);
    table.add("cpus-per-rank", cpus_per_rank, "cores of a rank; it works with as many threads");
    table.range("cpus-per-rank", 1, 1e5);
    table.add("time", time, "limit of a job: 30m, 12h, 1d, or as Slurm has it; longer stages come back", "time");
    table.add("grace", grace, "how long before the limit Slurm tells the job to save and stop", "time");
    table.add("partition", partition, "where to queue", "NAME");
    table.add("account", account, "who pays", "NAME");
    table.add("launcher", launcher, "what starts the ranks");
    table.choices("launcher", {"mpirun", "srun"});
    table.add("sbatch", sbatch, "other options of sbatch, as they are: --sbatch=--constraint=avx512", "OPTION");
}

void JobRequest::validate(const OptionTable& table) const {
    if (time) {
        const double limit = seconds_of_limit(*time).value_or(-1);
        if (limit < 0) table.refuse("time", *time + " is no time: 30m, 12h, 1d, or as Slurm has it, 12:00:00");
        if (limit < 60) table.refuse("time", "Slurm counts in minutes: give one at least");
        if (grace && !leaves_time_to_work(limit, seconds_from(*grace).value_or(0)))
            table.refuse("grace", fmt::format("{} of {} leave no time to work", *grace, *time));
    }
    if (grace && !seconds_from(*grace)) table.refuse("grace", *grace + " is no time: 90s, 5m");
    for (const std::string& option : sbatch)
        if (!option.starts_with("-") || option.find('\n') != std::string::npos)
            table.refuse("sbatch", "\"" + option + "\" is no option of sbatch");
}

std::string job_script(const std::string& job_template, const JobRequest& request, const JobWork& work) {
    check_usage(job_template.starts_with("#!"), "the job template does not begin with #!/bin/bash");
    check_usage(job_template.find("\"$@\"") != std::string::npos,
                "the job template never uses \"$@\", the command of the stage");
    std::vector<std::string> lines;
    std::istringstream stream(job_template);
    for (std::string line; std::getline(stream, line);) lines.push_back(line);

    // The directives end before the first command; what follows the last of them may still be comments.
    std::size_t end = 0, after = 1;
    for (; end < lines.size() && (lines[end].empty() || lines[end][0] == '#'); ++end)
        if (!key_of(lines[end]).empty()) after = end + 1;
    std::vector<std::string> more;
    for (const std::string& wanted : directives(request, work)) {
        const std::string line = std::string(directive) + wanted;
        // Of several options on a line the others are to stay; the one that comes later wins.
        const auto same_key = [&](const std::string& other) {
            return key_of(other) == key_of(line) && other.find(" -", directive.size()) == std::string::npos;
        };
        const auto header_end = lines.begin() + static_cast<std::ptrdiff_t>(after);
        if (std::none_of(lines.begin(), header_end, same_key)) more.push_back(line);
        std::replace_if(lines.begin(), header_end, same_key, line);
    }
    std::vector<std::string> added;
    added.emplace_back();
    added.emplace_back("# put here by ulmpi submit: the command, and the program");
    std::string command = "set --";
    for (const std::string& word : work.words) command += " " + shell_word(word);
    added.push_back(command);
    added.push_back("PROGRAM=" + shell_word(work.program));
    if (request.launcher) added.push_back("LAUNCHER=" + *request.launcher);
    std::size_t comments = after;
    while (comments < end && !lines[comments].empty()) ++comments;
    lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(comments), added.begin(), added.end());
    lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(after), more.begin(), more.end());
    check_grace(lines, after + more.size());
    return fmt::format("{}\n", fmt::join(lines, "\n"));
}

std::string shell_word(const std::string& word) {
    const auto plain = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               std::string_view("_-./=:,+%@").find(c) != std::string_view::npos;
    };
    if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
    std::string quoted = "'";
    for (char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return quoted + "'";
}

std::optional<double> seconds_of_limit(const std::string& text) {
    if (const std::optional<double> ours = seconds_from(text)) return ours;
    const std::size_t dash = text.find('-');
    const std::size_t colons = static_cast<std::size_t>(std::count(text.begin(), text.end(), ':'));
    if (dash == std::string::npos) {  // minutes, minutes:seconds, hours:minutes:seconds
        return seconds_from_slurm(colons == 0 ? text + ":00" : text);
    }
    if (colons > 2) return std::nullopt;  // days-hours, days-hours:minutes, days-hours:minutes:seconds
    std::string padded = text;
    for (std::size_t i = colons; i < 2; ++i) padded += ":00";
    return seconds_from_slurm(padded);
}

std::string slurm_time(double seconds) {
    auto left = static_cast<std::uint64_t>(std::ceil(seconds));
    const std::uint64_t days = left / 86400;
    left %= 86400;
    return (days > 0 ? fmt::format("{}-", days) : std::string()) +
           fmt::format("{:02}:{:02}:{:02}", left / 3600, left / 60 % 60, left % 60);
}

}  // namespace ulmpi
