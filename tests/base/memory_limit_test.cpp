#include "base/memory_limit.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>

namespace ulmpi {
namespace {

namespace fs = std::filesystem;

/// A folder that stands for /proc and /sys.
class MemoryLimit : public testing::Test {
protected:
    void SetUp() override { fs::create_directories(root_); }
    void TearDown() override { fs::remove_all(root_); }
    void write(const std::string& name, const std::string& text) {
        fs::create_directories((root_ / name).parent_path());
        std::ofstream(root_ / name) << text;
    }
    std::size_t limit() const { return memory_limit(root_ / "own", root_ / "groups"); }

    fs::path root_ = fs::temp_directory_path() / ("ulmpi-memory-limit-" + std::to_string(getpid()));
    const std::size_t machine_ =
        static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGE_SIZE));
};

TEST_F(MemoryLimit, IsTheMachinesWithoutGroups) {
    EXPECT_EQ(limit(), machine_);
    write("own", "0::/\n");
    EXPECT_EQ(limit(), machine_);
}

TEST_F(MemoryLimit, IsTheLeastOfTheGroupsOnTheWayDown) {
    write("own", "0::/slurm/job_7/step_0\n");
    write("groups/slurm/memory.max", "max\n");
    write("groups/slurm/job_7/memory.max", "1000000\n");
    write("groups/slurm/job_7/step_0/memory.max", "2000000\n");
    EXPECT_EQ(limit(), 1000000u);
}

TEST_F(MemoryLimit, OfVersionOneHasAControllerOfItsOwn) {
    write("own", "3:cpu,cpuacct:/slurm\n4:memory,hugetlb:/slurm/job_7\n");
    write("groups/memory/memory.limit_in_bytes", "9223372036854771712\n");
    write("groups/memory/slurm/job_7/memory.limit_in_bytes", "3000000\n");
    write("groups/memory.max", "5\n");
    EXPECT_EQ(limit(), 3000000u);
}

TEST_F(MemoryLimit, SeesAContainersOwnGroupAtTheTop) {
    write("own", "0::/docker/abcdef\n");
    write("groups/memory.max", "4000000\n");
    EXPECT_EQ(limit(), 4000000u);
}

TEST_F(MemoryLimit, NeverExceedsTheMachine) {
    write("own", "0::/\n");
    write("groups/memory.max", std::to_string(machine_ * 2));
    EXPECT_EQ(limit(), machine_);
}

TEST_F(MemoryLimit, PassesOverWhatItCannotRead) {
    write("own", "nonsense\n::\n0::/a\n");
    write("groups/a/memory.max", "much\n");
    EXPECT_EQ(limit(), machine_);
}

}  // namespace
}  // namespace ulmpi
