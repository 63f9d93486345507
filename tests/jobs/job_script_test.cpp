#include "jobs/job_script.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.hpp"
#include "base/subprocess.hpp"

namespace ulmpi {
namespace {

const JobWork work{
    "domain", "/home/me/my texts", "/home/me/jobs/2-%j.log", "/opt/ulmpi", {"finetune", "lm", "--run", "it's"}};

std::size_t count(const std::string& text, const std::string& part) {
    std::size_t n = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
    return n;
}

TEST(JobScript, ReplacesDirectivesAndAddsThoseThatAreMissing) {
    const std::string job_template =
        "#!/bin/bash\n# words\n#SBATCH --nodes=1\n#SBATCH --time=1:00\n##SBATCH --account=...\n\nload things\n"
        "run \"$@\"\n#SBATCH --nodes=9\n";
    JobRequest request;
    request.nodes = 3;
    request.account = "us";
    request.grace = "90s";
    request.sbatch = {"--exclusive", "--time=3:00"};
    EXPECT_EQ(job_script(job_template, request, work),
              "#!/bin/bash\n# words\n#SBATCH --nodes=3\n#SBATCH --time=3:00\n#SBATCH --job-name=domain\n"
              "#SBATCH --signal=B:USR1@90\n#SBATCH --account=us\n#SBATCH --chdir='/home/me/my texts'\n"
              "#SBATCH --output=/home/me/jobs/2-%j.log\n#SBATCH --exclusive\n##SBATCH --account=...\n"
              "\n# put here by ulmpi submit: the command, and the program\nset -- finetune lm --run 'it'\\''s'\n"
              "PROGRAM=/opt/ulmpi\n\nload things\nrun \"$@\"\n#SBATCH --nodes=9\n");
}

TEST(JobScript, WhatElseStandsOnALineStays) {
    JobRequest request;
    request.nodes = 3;
    const std::string script = job_script("#!/bin/bash\n#SBATCH --nodes=1 --exclusive\nrun \"$@\"\n", request, work);
    EXPECT_LT(script.find("#SBATCH --nodes=1 --exclusive\n"), script.find("#SBATCH --nodes=3\n")) << script;
}

TEST(JobScript, RefusesASignalThatLeavesNoTimeToWork) {
    JobRequest request;
    request.time = "1m";  // the template's signal comes a minute before the end
    EXPECT_THROW(job_script(built_in_job_template(), request, work), UsageError);
    request.grace = "31s";
    EXPECT_THROW(job_script(built_in_job_template(), request, work), UsageError);
    request.grace = "30s";
    EXPECT_NO_THROW(job_script(built_in_job_template(), request, work));
}

TEST(JobScript, LeavesTheTemplateAsItIsWhereNothingIsAsked) {
    const std::string script = job_script(built_in_job_template(), {}, work);
    for (const char* kept : {"#SBATCH --nodes=1\n", "#SBATCH --time=12:00:00\n", "#SBATCH --requeue\n",
                             "#SBATCH --signal=B:USR1@60\n", "#SBATCH --open-mode=append\n"})
        EXPECT_EQ(count(script, kept), 1u) << kept;
    EXPECT_EQ(count(script, "#SBATCH --output="), 1u);
    EXPECT_EQ(count(script, "#SBATCH --job-name="), 1u);
}

// What Slurm does not tell a shell itself does.
TEST(JobScript, TheShellReadsTheCommandAsItWasMeant) {
    const std::vector<std::string> words{"a b", "it's",           "$HOME", "`ls`",    "\"",       "\\",
                                         "",    "--run=runs/one", "*",     "ünïcode", "new\nline"};
    std::string command = "printf '%s|'";
    for (const std::string& word : words) command += " " + shell_word(word);
    std::string wanted;
    for (const std::string& word : words) wanted += word + "|";
    const Finished bash = run_program({"bash", "-c", command});
    EXPECT_EQ(bash.status, 0) << bash.errors;
    EXPECT_EQ(bash.output, wanted);
    EXPECT_EQ(run_program({"bash", "-n", "-c", job_script(built_in_job_template(), {}, work)}).errors, "");
}

TEST(JobScript, RefusesATemplateThatWouldNotRunTheStage) {
    EXPECT_THROW(job_script("echo \"$@\"\n", {}, work), UsageError);
    EXPECT_THROW(job_script("#!/bin/bash\nmpirun ulmpi pretrain\n", {}, work), UsageError);
    EXPECT_THROW(job_script("", {}, work), UsageError);
}

TEST(LimitOfTime, ReadsOursAndSlurms) {
    const std::vector<std::pair<const char*, double>> known{
        {"90s", 90},     {"30m", 1800},       {"2h", 7200},     {"1d", 86400},       {"30", 1800},
        {"30:15", 1815}, {"12:00:00", 43200}, {"1-12", 129600}, {"1-12:30", 131400}, {"2-00:00:05", 172805}};
    for (const auto& [text, seconds] : known) {
        ASSERT_TRUE(seconds_of_limit(text)) << text;
        EXPECT_EQ(*seconds_of_limit(text), seconds) << text;
    }
    for (const char* text : {"", "soon", "1:2:3:4", "1-", "-1", "5 minutes", "1-2:3:4:5"})
        EXPECT_FALSE(seconds_of_limit(text)) << text;
}

TEST(LimitOfTime, IsWrittenAsItIsRead) {
    for (double seconds : {60.0, 61.0, 3599.0, 3600.0, 86399.0, 86400.0, 1e6})
        EXPECT_EQ(seconds_of_limit(slurm_time(seconds)), seconds) << slurm_time(seconds);
    EXPECT_EQ(slurm_time(93784.2), "1-02:03:05");
}

}  // namespace
}  // namespace ulmpi
