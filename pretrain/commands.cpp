#include "pretrain/commands.hpp"

#include "parallel/command_table.hpp"
#include "pretrain/bench.hpp"
#include "pretrain/language_model.hpp"

namespace ulmpi {

int pretrain_command(std::span<const std::string> arguments, const Communicator& world) {
    return train_language_model(pretraining(), arguments, world);
}

int bench_command(std::span<const std::string> arguments, const Communicator& world) {
    return run_command("bench",
                       {{"step", "one training step of a shape on random tokens", bench_step_command},
                        {"gemm", "this machine's peak in matrix products", bench_gemm_command}},
                       arguments, world);
}

}  // namespace ulmpi
