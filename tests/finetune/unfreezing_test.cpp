#include "finetune/unfreezing.hpp"

#include <gtest/gtest.h>

namespace ulmpi {
namespace {

TEST(Unfreezing, OneGroupAnEpochFromTheHeadDownThenAll) {
    EXPECT_EQ(unfreezing_phases(6, 3, true),
              (std::vector<UnfreezingPhase>{{0, 1, 3}, {1, 1, 2}, {2, 1, 1}, {3, 3, 0}}));
    EXPECT_EQ(unfreezing_phases(4, 3, true),
              (std::vector<UnfreezingPhase>{{0, 1, 3}, {1, 1, 2}, {2, 1, 1}, {3, 1, 0}}));
}

TEST(Unfreezing, WithFewerEpochsThanGroupsTheLastUnfreezesTheRest) {
    EXPECT_EQ(unfreezing_phases(2, 3, true), (std::vector<UnfreezingPhase>{{0, 1, 3}, {1, 1, 0}}));
    EXPECT_EQ(unfreezing_phases(1, 3, true), (std::vector<UnfreezingPhase>{{0, 1, 0}}));
}

TEST(Unfreezing, OffIsOnePhaseOfEverything) {
    EXPECT_EQ(unfreezing_phases(5, 3, false), (std::vector<UnfreezingPhase>{{0, 5, 0}}));
}

// Whatever the sizes: phases are dealt without a gap, never freeze again, and everything is trained in the end.
TEST(Unfreezing, PhasesCoverAllEpochs) {
    for (int epochs = 1; epochs <= 12; ++epochs)
        for (int last = 1; last <= 8; ++last)
            for (bool gradual : {false, true}) {
                const std::vector<UnfreezingPhase> phases = unfreezing_phases(epochs, last, gradual);
                int epoch = 0, frozen_below = last + 1;
                for (const UnfreezingPhase& phase : phases) {
                    EXPECT_EQ(phase.first_epoch, epoch);
                    EXPECT_GE(phase.epochs, 1);
                    EXPECT_LT(phase.first_trained, frozen_below);
                    epoch += phase.epochs;
                    frozen_below = phase.first_trained;
                }
                EXPECT_EQ(epoch, epochs);
                EXPECT_EQ(phases.back().first_trained, 0);
            }
}

}  // namespace
}  // namespace ulmpi
