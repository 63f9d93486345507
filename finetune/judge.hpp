#pragma once
// What a trained classifier says of labelled rows.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "data/labelled_set.hpp"
#include "parallel/communicator.hpp"
#include "pretrain/interruption.hpp"
#include "pretrain/layout.hpp"

namespace ulmpi {

struct Judgement {
    std::vector<float> probabilities;  ///< (rows, classes)
    std::uint64_t step = 0;            ///< of the checkpoint that was asked
};

/// Of the newest checkpoint of `run`; the rows were encoded with its tokenizer and have its classes. None if it was
/// left off. Collective; alike on all ranks.
std::optional<Judgement> judge(const std::string& run, const LabelledSet& rows, const LayoutOptions& layout,
                               const Communicator& world, const LeaveOff& leave_off);

}  // namespace ulmpi
