#include "base/subprocess.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

namespace ulmpi {
namespace {

TEST(Subprocess, ReturnsWhatTheProgramLeft) {
    const Finished done = run_program({"bash", "-c", "cat; echo out; echo err >&2; exit 3"});
    EXPECT_EQ(done.status, 3);
    EXPECT_EQ(done.output, "out\n");
    EXPECT_EQ(done.errors, "err\n");
    EXPECT_EQ(run_program({"bash", "-c", "kill -9 $$"}).status, 128 + 9);
    EXPECT_EQ(run_program({"no-such-program-anywhere"}).status, 127);
}

TEST(Subprocess, ReadsMoreThanAPipeHoldsFromBothEnds) {
    const Finished done = run_program({"bash", "-c", "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero"});
    EXPECT_EQ(done.output.size(), 300000u);
    EXPECT_EQ(done.errors.size(), 300000u);
}

TEST(Subprocess, TakesWordsAsTheyAre) {
    EXPECT_EQ(run_program({"echo", "$HOME; *", "a  b"}).output, "$HOME; * a  b\n");
}

// What the program set for itself since it was started is not handed on.
TEST(Subprocess, HasTheEnvironmentThatWeWereStartedIn) {
    ::setenv("ULMPI_TEST_DATA", "later", 1);
    const auto left_out = [](const std::string& variable) { return variable.starts_with("HOME="); };
    EXPECT_EQ(run_program({"/bin/bash", "-c", "echo \"${HOME-none}\""}, left_out).output, "none\n");
    const std::string path = run_program({"bash", "-c", "echo $PATH $ULMPI_TEST_DATA"}).output;
    EXPECT_EQ(path, std::string(std::getenv("PATH")) + "\n");
    ::unsetenv("ULMPI_TEST_DATA");
}

}  // namespace
}  // namespace ulmpi
