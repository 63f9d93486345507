#include "jobs/submit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

#include "base/files/publish.hpp"
#include "base/options/table.hpp"
#include "base/quoted.hpp"
#include "checkpoints/run_folder.hpp"
#include "jobs/chain.hpp"
#include "jobs/job_script.hpp"
#include "jobs/slurm_queue.hpp"
#include "parallel/run_main.hpp"

namespace ulmpi {
namespace {

namespace fs = std::filesystem;
using Need = StageState::Need;

struct Options {
    std::string jobs, job_template, program;
    bool dry_run = false, set_aside = false;
    JobRequest request;

    void declare(OptionTable& table) {
        table.example("--config three-stages.ini");
        table.example("--config three-stages.ini --time 4h --nodes 2 --ranks-per-node 4 --dry-run");
        table.required("config");
        table.positional("config");
        table.group("Chain");
        table.add("jobs", jobs,
                  "folder for its scripts, logs and record; default: the configuration file's name, .jobs", "DIR");
        table.add("dry-run", dry_run, "print the job scripts, submit and write nothing");
        table.add("set-aside", set_aside,
                  "a run made from other inputs gets another name (RUN.old-1) and the stage begins anew");
        table.add("template", job_template, "job script to fill in; default: scripts/job.sbatch as it came", "FILE");
        table.add("program", program, "ulmpi as the nodes see it; default: this one", "FILE");
        request.declare(table);
    }
};

/// A stage that has to run, as a job.
struct PlannedJob {
    std::size_t stage = 0;  ///< index in the chain
    std::string ini_path, ini, script_path, script, log;
};

std::string dashed(std::string command) {
    std::replace(command.begin(), command.end(), ' ', '-');
    return command;
}

std::string read_template(const std::string& path) {
    if (path.empty()) return built_in_job_template();
    std::ifstream file(path, std::ios::binary);
    check_usage(file.good() && fs::is_regular_file(path), "--template: {} cannot be read", path);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// What a stage asks of Slurm: its section [submit.STAGE] over [submit].
JobRequest request_of(const ConfiguredStage& stage, const Options& common, std::span<const std::string> arguments) {
    Options o = common;
    OptionTable table("submit " + stage.command, "");
    o.declare(table);
    table.parse(arguments);
    o.request.validate(table);
    const JobRequest& r = o.request;
    if (r.nodes && r.ranks_per_node)
        check_usage(*r.nodes * *r.ranks_per_node % stage.ranks_of_model == 0,
                    "{}: {} nodes of {} ranks do not divide into tensor x pipeline parallel groups of {}",
                    stage.command, *r.nodes, *r.ranks_per_node, stage.ranks_of_model);
    return r;
}

// Of a stage that is under way: where it begins with, if anything was named, lies behind it.
std::string going_on(const std::string& ini) {
    std::istringstream lines(ini);
    std::string text;
    for (std::string line; std::getline(lines, line);)
        if (!line.starts_with("resume =")) text += line + "\n";
    return text;
}

std::vector<PlannedJob> planned_jobs(const std::vector<ConfiguredStage>& stages, const std::vector<StageState>& states,
                                     const Options& o, const fs::path& folder, std::span<const std::string> arguments) {
    const std::string job_template = read_template(o.job_template);
    const std::string program =
        o.program.empty() ? fs::read_symlink("/proc/self/exe").string() : fs::absolute(o.program).string();
    std::vector<PlannedJob> jobs;
    for (std::size_t i = 0; i < stages.size(); ++i) {
        const JobRequest request = request_of(stages[i], o, arguments);  // checked even where nothing is to run
        if (states[i].need == Need::nothing) continue;
        const std::string stem = (folder / fmt::format("{}-{}", i + 1, dashed(stages[i].command))).string();
        PlannedJob job{i,
                       stem + ".ini",
                       states[i].need == Need::the_rest ? going_on(stages[i].given) : stages[i].given,
                       stem + ".sbatch",
                       "",
                       stem + "-%j.log"};
        JobWork work{fs::path(stages[i].run).lexically_normal().filename().string(),
                     fs::current_path().string(),
                     job.log,
                     program,
                     {}};
        if (work.name.empty()) work.name = dashed(stages[i].command);
        for (std::size_t begin = 0; begin < stages[i].command.size();) {
            const std::size_t end = std::min(stages[i].command.find(' ', begin), stages[i].command.size());
            work.words.push_back(stages[i].command.substr(begin, end - begin));
            begin = end + 1;
        }
        work.words.insert(work.words.end(), {"--config", job.ini_path});
        job.script = job_script(job_template, request, work);
        jobs.push_back(std::move(job));
    }
    return jobs;
}

void refuse_other_inputs(const std::vector<ConfiguredStage>& stages, const std::vector<StageState>& states) {
    for (std::size_t i = 0; i < stages.size(); ++i)
        check_usage(states[i].need != Need::other_inputs,
                    "{} was made from other inputs than {} has now: {}; give the stage another --run, or "
                    "--set-aside to rename that one and begin anew",
                    stages[i].run, stages[i].command, fmt::join(states[i].changes, "; "));
}

// Jobs read their scripts and configurations in the folder when they start, or come back.
void refuse_queued(const ChainRecord& before) {
    std::vector<std::string> ids;
    for (const ChainRecord::Stage& stage : before.stages)
        if (!stage.job.empty()) ids.push_back(stage.job);
    const auto queue = queued_jobs(ids);
    for (const ChainRecord::Stage& old : before.stages) {
        const auto job = queue.find(old.job);
        check_usage(job == queue.end() || !job->second.is_alive(),
                    "{} of {} is in the queue already, as job {}: ulmpi status shows it; scancel {} takes it "
                    "out; another chain needs another --jobs",
                    old.command, old.run, old.job, old.job);
    }
}

void say_what_is_left_out() {
    const std::vector<std::string> names = overriding_variables();
    if (names.empty()) return;
    fmt::print(stderr,
               "note: {} of the environment {} not count: the jobs ask for what their scripts say; [submit] takes any "
               "option of sbatch (sbatch = --qos=long)\n",
               fmt::join(names, ", "), names.size() == 1 ? "does" : "do");
}

// Nobody may be at work in it.
void set_run_aside(const std::string& run) {
    const FolderLock lock = RunFolder(run).lock();
    const std::string place = fs::path(run + "/").lexically_normal().parent_path().string();
    fmt::print(stderr, "{} is now {}\n", run, set_aside(place).string());
}

// What the chain's folder says: of stages that are submitted anew nothing yet, of the others what it said before.
ChainRecord record_before(const std::vector<ConfiguredStage>& stages, const std::vector<StageState>& states,
                          const std::string& config, const std::optional<ChainRecord>& before) {
    ChainRecord record{config, {}, fs::current_path().string()};
    for (std::size_t i = 0; i < stages.size(); ++i) {
        ChainRecord::Stage& stage = record.stages.emplace_back();
        if (before && states[i].need == Need::nothing)
            for (const ChainRecord::Stage& old : before->stages)
                if (old.run == stages[i].run) stage = old;
        std::tie(stage.command, stage.run, stage.evaluates) =
            std::tie(stages[i].command, stages[i].run, stages[i].evaluates);
    }
    return record;
}

// Every job or none: if one is refused, those before it are taken out again. The record grows with each job.
void submit_chain(const std::vector<PlannedJob>& jobs, const fs::path& folder, ChainRecord& record) {
    std::vector<std::string> submitted{""};
    for (const PlannedJob& job : jobs) try {
            const std::string id = submit_job(job.script_path, submitted.back());
            submitted.push_back(id);
            ChainRecord::Stage& stage = record.stages[job.stage];
            stage.job = id;
            stage.script = job.script_path;
            stage.log = job.log;
            stage.log.replace(stage.log.find("%j"), 2, id);
            record.save(folder);
        } catch (const Error& refusal) {
            for (auto id = submitted.rbegin(); !id->empty(); ++id) cancel_job(*id);
            throw UsageError(refusal.what());
        }
}

void print_plan(const std::vector<ConfiguredStage>& stages, const std::vector<StageState>& states,
                const ChainRecord& record, bool dry_run) {
    fmt::print(stderr, "{:20}  {:9}  {:44}  {}\n", "stage", "job", "what", "run");
    for (std::size_t i = 0; i < stages.size(); ++i) {
        const StageState& state = states[i];
        const std::string what = state.need == Need::nothing    ? "complete, with the same inputs: not run again"
                                 : state.need == Need::the_rest ? fmt::format("goes on from step {}", state.step)
                                                                : "trains from the beginning";
        const std::string job = state.need == Need::nothing ? "" : record.stages[i].job;
        fmt::print(stderr, "{:20}  {:9}  {:44}  {}\n", stages[i].command,
                   job.empty() ? (dry_run && state.need != Need::nothing ? "(dry run)" : "-") : job, what,
                   stages[i].run);
        if (dry_run) continue;
        nlohmann::ordered_json line{{"kind", "stage"}, {"stage", stages[i].command}, {"run", stages[i].run}};
        line["action"] = job.empty() ? "complete" : "submitted";
        line["step"] = state.need == Need::other_inputs ? 0 : state.step;
        if (!job.empty()) line["job"] = job;
        print_json(line);
    }
}

int submit(const Options& o, const std::string& config, std::span<const std::string> arguments,
           const Communicator& world) {
    const std::vector<ConfiguredStage> stages = stages_of_file(config);
    std::vector<StageState> states = states_of(stages, world);
    const fs::path folder = fs::absolute(o.jobs.empty() ? fs::path(config).stem().string() + ".jobs" : o.jobs);
    const std::vector<PlannedJob> jobs = planned_jobs(stages, states, o, folder, arguments);
    if (!o.set_aside) refuse_other_inputs(stages, states);
    if (o.dry_run) {
        for (const PlannedJob& job : jobs)
            print_line(fmt::format("#### {}\n{}\n#### {}\n{}", job.ini_path, job.ini, job.script_path, job.script));
        ChainRecord nothing{config, std::vector<ChainRecord::Stage>(stages.size()), ""};
        print_plan(stages, states, nothing, true);
        return 0;
    }
    std::error_code failure;
    fs::create_directories(folder, failure);
    check_usage(!failure, "--jobs: {} cannot be made: {}", quoted(folder), failure.message());
    const FolderLock lock(folder, "wait until that one is done, or give another --jobs");
    const std::optional<ChainRecord> before = ChainRecord::load(folder);
    if (before) refuse_queued(*before);
    for (std::size_t i = 0; i < stages.size(); ++i)
        if (states[i].need == Need::other_inputs) set_run_aside(stages[i].run);
    for (const PlannedJob& job : jobs) {
        write_file(job.ini_path, job.ini);
        write_file(job.script_path, job.script);
    }
    say_what_is_left_out();
    ChainRecord record = record_before(stages, states, config, before);
    record.save(folder);
    submit_chain(jobs, folder, record);
    print_plan(stages, states, record, false);
    if (!jobs.empty())
        fmt::print(stderr, "ulmpi status {} shows how far they are\n",
                   folder.lexically_proximate(fs::current_path()).string());
    return 0;
}

}  // namespace

int submit_command(std::span<const std::string> arguments, const Communicator& world) {
    Options o;
    OptionTable table(
        "submit",
        "Submits the stages that a configuration file has sections for ([pretrain], [finetune.lm], "
        "[finetune.classifier]) to Slurm, each to start when the one before it has ended well and to come "
        "back until it is done. A stage that is complete, with the same inputs, is not run again. What "
        "jobs ask for stands in [submit], for one stage in [submit.pretrain] and its kin.");
    o.declare(table);
    if (!together(world, [&] { return table.parse(arguments); })) return 0;
    o.request.validate(table);
    check_usage(world.size() == 1, "submit works alone: start it without mpirun");
    return submit(o, table.config(), arguments, world);
}

}  // namespace ulmpi
