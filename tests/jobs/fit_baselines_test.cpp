// Pieces of words are learnt where there is time, and the baselines do not depend on it.
#include "jobs/fit_baselines.hpp"

#include <gtest/gtest.h>

#include <string>

namespace ulmpi {
namespace {

TEST(Compare, PiecesOfWordsWhereThereIsTime) {
    LabelledSet train;
    for (int row = 0; row < 60; ++row) {
        train.texts.push_back((row % 2 == 0 ? "even w" : "odd w") + std::to_string(row % 7));
        train.labels.push_back(row % 2);
    }
    train.classes = {"a", "b"};
    const Compared hurried = compare(train, nullptr, 0, 1, 0, Communicator::world());
    const Compared patient = compare(train, nullptr, 0, 1, 1e9, Communicator::world());
    EXPECT_FALSE(hurried.words.model.kinds().pieces);
    EXPECT_TRUE(patient.words.model.kinds().pieces);
    EXPECT_EQ(to_json(hurried.baselines), to_json(patient.baselines));
    EXPECT_GT(hurried.seconds, 0);
}

}  // namespace
}  // namespace ulmpi
