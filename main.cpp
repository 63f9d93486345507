// The table of commands. Each folder that has a command holds its own commands.cpp.

#include <fmt/format.h>

#include <string>
#include <vector>

#include "base/options/names.hpp"
#include "base/stop_signals.hpp"
#include "checkpoints/commands.hpp"
#include "data/commands.hpp"
#include "finetune/commands.hpp"
#include "jobs/fit.hpp"
#include "jobs/submit.hpp"
#include "model/kernels/blas_choice.hpp"
#include "parallel/command_table.hpp"
#include "parallel/run_main.hpp"
#include "pretrain/commands.hpp"
#include "pretrain/data_ledger.hpp"

namespace ulmpi {
namespace {

// One of the commands on data needs the floors above it.
int data_or_ledger_command(std::span<const std::string> arguments, const Communicator& world) {
    std::vector<Command> table = data_commands();
    table.push_back({"ledger", "proves which samples a run has read, over restarts and layouts", data_ledger_command});
    return run_command("data", table, arguments, world);
}

const std::vector<Command>& commands() {
    static const std::vector<Command> table{
        {"data", "text to tokens: tokenizer | shards | encode | verify | show | ledger", data_or_ledger_command},
        {"pretrain", "stage 1: a language model from shards of tokens", pretrain_command},
        {"finetune", "stages 2 and 3: lm | classifier", finetune_command},
        {"fit", "from labelled texts to a classifier, in the minutes given", fit_command},
        {"submit", "the three stages as a chain of Slurm jobs that come back until they are done", submit_command},
        {"status", "how far the submitted stages are", status_command},
        {"predict", "labels lines of text with a classifier", predict_command},
        {"evaluate", "perplexity of a language model, or accuracy of a classifier", evaluate_command},
        {"generate", "samples text from a language model", generate_command},
        {"checkpoint", "checkpoints: show | verify | slim | ensemble | import | export", checkpoint_command},
        {"bench", "speed of this machine: step | predict | gemm", bench_command},
    };
    return table;
}

int run(const std::vector<std::string>& words, const Communicator& world) {
    const std::string first = words.empty() ? "--help" : words[0];
    if (first == "--help" || first == "-h") {
        print_line(
            fmt::format("ulmpi {}: raw text to a pretrained language model, a domain language model and a classifier, "
                        "on one rank or many.\n\nusage: [mpirun -n RANKS] ulmpi COMMAND [options]\n{}\n\n"
                        "ulmpi COMMAND --help explains a command; ulmpi --version; ulmpi --list-options.",
                        ULMPI_VERSION, list_commands(commands())));
    } else if (first == "--version") {
        print_line("ulmpi " ULMPI_VERSION);
    } else if (first == "--list-options") {
        for (const std::string& name : all_options()) print_line(name);
    } else {
        return run_command("", commands(), words, world);
    }
    return 0;
}

}  // namespace
}  // namespace ulmpi

int main(int argc, char** argv) {
    ulmpi::hold_early_stops();
    ulmpi::choose_blas_kernels(argv);  // may start the program anew, so it comes before MPI
    return ulmpi::run_main(argc, argv, [](int count, char** words, const ulmpi::Communicator& world) {
        return ulmpi::run({words + 1, words + count}, world);
    });
}
