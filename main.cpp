// The table of commands. Each folder that has a command holds its own commands.cpp.

#include <fmt/format.h>

#include <cstdio>
#include <span>
#include <string>
#include <vector>

#include "checkpoints/commands.hpp"
#include "data/commands.hpp"
#include "finetune/commands.hpp"
#include "model/kernels/blas_choice.hpp"
#include "parallel/option_names.hpp"
#include "parallel/option_value.hpp"
#include "parallel/run_main.hpp"
#include "pretrain/commands.hpp"

namespace ulmpi {
namespace {

struct Command {
    std::string name;
    std::string does;
    int (*run)(std::span<const std::string> arguments, const Communicator& world);  // returns the exit status
};

const std::vector<Command>& commands() {
    static const std::vector<Command> table{
        {"data", "text to tokens: tokenizer | shards | encode | verify | show", data_command},
        {"pretrain", "stage 1: a language model from shards of tokens", pretrain_command},
        {"finetune", "stages 2 and 3: lm | classifier", finetune_command},
        {"predict", "labels lines of text with a classifier", predict_command},
        {"evaluate", "perplexity of a language model, or accuracy of a classifier", evaluate_command},
        {"generate", "samples text from a language model", generate_command},
        {"checkpoint", "looks into checkpoints: show | verify", checkpoint_command},
        {"bench", "speed of this machine: step | gemm", bench_command},
    };
    return table;
}

void print_commands() {
    std::string text = "ulmpi " ULMPI_VERSION
                       ": raw text to a pretrained language model, a domain language model and a classifier, on any "
                       "number of ranks.\n\n"
                       "usage: [mpirun -n RANKS] ulmpi COMMAND [options]\n\n";
    for (const Command& command : commands()) text += fmt::format("  {:<12}{}\n", command.name, command.does);
    text += "\nulmpi COMMAND --help explains a command; ulmpi --version prints the version.";
    print_line(text);
}

int run(std::span<const std::string> words, const Communicator& world) {
    if (words.empty() || words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
        print_commands();
        return 0;
    }
    if (words[0] == "--version") {
        print_line("ulmpi " ULMPI_VERSION);
        return 0;
    }
    if (words[0] == "--list-options") {
        for (const std::string& name : all_options()) print_line(name);
        return 0;
    }
    std::vector<std::string> names;
    for (const Command& command : commands()) {
        if (command.name == words[0]) return command.run(words.subspan(1), world);
        names.push_back(command.name);
    }
    throw UsageError(
        fmt::format("unknown command \"{}\"{}; ulmpi alone lists them", words[0], suggestion(words[0], names)));
}

}  // namespace
}  // namespace ulmpi

int main(int argc, char** argv) {
    ulmpi::choose_blas_kernels(argv);  // may start the program anew, so it comes before MPI
    return ulmpi::run_main(argc, argv, [](int count, char** words, const ulmpi::Communicator& world) {
        const std::vector<std::string> arguments(words + 1, words + count);
        return ulmpi::run(arguments, world);
    });
}
