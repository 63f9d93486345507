#include "finetune/commands.hpp"

#include "finetune/bench_predict.hpp"
#include "finetune/classifier.hpp"
#include "parallel/command_table.hpp"
#include "pretrain/bench.hpp"
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

int bench_command(std::span<const std::string> arguments, const Communicator& world) {
    return run_command("bench",
                       {{"step", "one training step of a shape on random tokens", bench_step_command},
                        {"predict", "the labelling of texts with a classifier", bench_predict_command},
                        {"gemm", "this machine's peak in matrix products", bench_gemm_command}},
                       arguments, world);
}

}  // namespace ulmpi
