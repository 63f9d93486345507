#include "pretrain/commands.hpp"

#include "pretrain/language_model.hpp"

namespace ulmpi {

int pretrain_command(std::span<const std::string> arguments, const Communicator& world) {
    return train_language_model(pretraining(), arguments, world);
}

}  // namespace ulmpi
