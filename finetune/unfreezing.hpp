#pragma once
// Gradual unfreezing (Howard & Ruder 2018, section 3.3) as a pure function.

#include <algorithm>
#include <vector>

namespace ulmpi {

/// Epochs in which the same groups are trained: those from `first_trained` up.
struct UnfreezingPhase {
    int first_epoch = 0, epochs = 0, first_trained = 0;
    friend bool operator==(const UnfreezingPhase&, const UnfreezingPhase&) = default;
};

/// With gradual unfreezing the head alone (group `last`) is trained for an epoch, then the group below with it, and so
/// on; when all are, the rest of the epochs is one phase. With fewer epochs than groups the last epoch unfreezes all
/// that is left. Otherwise one phase trains everything. epochs >= 1.
inline std::vector<UnfreezingPhase> unfreezing_phases(int epochs, int last, bool gradual) {
    if (!gradual) return {{0, epochs, 0}};
    std::vector<UnfreezingPhase> phases;
    const int partial = std::min(last, epochs - 1);  // epochs with something frozen
    for (int epoch = 0; epoch < partial; ++epoch) phases.push_back({epoch, 1, last - epoch});
    phases.push_back({partial, epochs - partial, 0});
    return phases;
}

}  // namespace ulmpi
