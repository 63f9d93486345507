#include "finetune/commands.hpp"

#include "finetune/classifier.hpp"
#include "parallel/command_table.hpp"
#include "pretrain/language_model.hpp"

namespace ulmpi {
namespace {

int finetune_lm_command(std::span<const std::string> arguments, const Communicator& world) {
    return train_language_model(domain_training(), arguments, world);
}

}  // namespace

int finetune_command(std::span<const std::string> arguments, const Communicator& world) {
    return run_command("finetune",
                       {{"lm", "stage 2: continues a language model on a domain's text", finetune_lm_command},
                        {"classifier", "stage 3: a classifier of texts", train_classifier}},
                       arguments, world);
}

}  // namespace ulmpi
