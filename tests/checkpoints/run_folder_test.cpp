#include "checkpoints/run_folder.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>

#include "base/error.hpp"
#include "base/files/publish.hpp"
#include "base/files/seal.hpp"
#include "tests/base/temporary_folder.hpp"

namespace ulmpi {
namespace {

namespace fs = std::filesystem;

class RunFolderTest : public testing::Test {
protected:
    RunFolderTest() { run_.create(); }
    // A sealed file stands for a checkpoint: nothing here looks behind the seal.
    fs::path make(std::uint64_t step) {
        const fs::path path = run_.checkpoint_path(step);
        write_whole(path, std::string(2000, 'x'));
        seal_file(path, checkpoint_kind);
        return path;
    }
    fs::path touch(const std::string& name) {
        const fs::path path = run_.checkpoint_folder() / name;
        write_whole(path, "x");
        return path;
    }

    TemporaryFolder folder_;
    RunFolder run_{folder_ / "run"};
};

TEST_F(RunFolderTest, NamesAndOrder) {
    EXPECT_EQ(run_.checkpoint_path(1000), folder_ / "run/checkpoints/step-00001000.h5");
    EXPECT_TRUE(run_.checkpoints().empty());
    make(2'000'000'000);
    make(5);
    make(99'999'999);
    touch("step-.h5");
    touch("step-12x.h5");
    touch("step-00000077.h5.bak");
    touch(".step-00000078.h5.tmp-node-1");
    fs::create_directory(run_.checkpoint_path(3'000'000'000));
    const std::vector<fs::path> expected{run_.checkpoint_path(5), run_.checkpoint_path(99'999'999),
                                         run_.checkpoint_path(2'000'000'000)};
    EXPECT_EQ(run_.checkpoints(), expected);
}

TEST_F(RunFolderTest, NewestVerifiedSaysWhatItPassedOver) {
    const fs::path good = make(1), damaged = make(2), cut = make(3), empty = make(4);
    std::string content = read_whole(damaged);
    content[1000] = 'y';
    write_whole(damaged, content);
    fs::resize_file(cut, 1500);
    fs::resize_file(empty, 0);
    const auto [checkpoint, passed_over] = run_.newest_verified(Communicator::world());
    EXPECT_EQ(checkpoint, good);
    ASSERT_EQ(passed_over.size(), 3U);
    EXPECT_NE(passed_over[0].find("step-00000004.h5' is empty"), std::string::npos) << passed_over[0];
    EXPECT_NE(passed_over[1].find("step-00000003.h5' is truncated"), std::string::npos) << passed_over[1];
    EXPECT_NE(passed_over[2].find("step-00000002.h5' is damaged"), std::string::npos) << passed_over[2];
}

TEST_F(RunFolderTest, NewerOnesAreSetAside) {
    for (std::uint64_t step : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{3}}) make(step);
    const std::string content = read_whole(run_.checkpoint_path(3));
    const fs::path second = run_.checkpoint_path(2).string() + ".old-1",
                   third = run_.checkpoint_path(3).string() + ".old-1";
    EXPECT_TRUE(run_.set_newer_aside(3).empty());
    EXPECT_EQ(run_.set_newer_aside(1), (std::vector<fs::path>{second, third}));
    EXPECT_EQ(run_.checkpoints(), std::vector<fs::path>{run_.checkpoint_path(1)});
    make(3);
    const fs::path again = run_.checkpoint_path(3).string() + ".old-2";
    EXPECT_EQ(run_.set_newer_aside(0), (std::vector<fs::path>{run_.checkpoint_path(1).string() + ".old-1", again}));
    EXPECT_EQ(read_whole(third), content);
}

// Every set of steps below 10 with every way of keeping, against the sentence that describes it.
TEST(StepsToRemove, AreThoseThatNothingKeeps) {
    for (unsigned set = 0; set < 1024; ++set)
        for (std::size_t last = 0; last <= 4; ++last)
            for (std::uint64_t every = 0; every <= 4; ++every)
                for (std::uint64_t best = 0; best <= 10; ++best)
                    for (std::uint64_t newest = 0; newest < 10; ++newest) {
                        std::vector<std::uint64_t> steps, expected;
                        for (std::uint64_t step = 0; step < 10; ++step)
                            if ((set >> step & 1U) != 0) steps.push_back(step);
                        for (std::uint64_t step : steps) {
                            const auto newer = static_cast<std::size_t>(std::ranges::count_if(
                                steps, [&](std::uint64_t other) { return other > step && other <= newest; }));
                            const bool stays = step > newest || last == 0 || newer < last || step == best ||
                                               (every > 0 && step % every == 0);
                            if (!stays) expected.push_back(step);
                        }
                        const auto kept_best = best < 10 ? std::optional(best) : std::nullopt;
                        ASSERT_EQ(steps_to_remove(steps, {last, every, kept_best}, newest), expected)
                            << set << " last " << last << " every " << every << " best " << best << " at " << newest;
                    }
}

TEST_F(RunFolderTest, PruneRemovesFiles) {
    for (std::uint64_t step : {10U, 20U, 30U, 40U, 100U}) make(step);
    run_.prune({0}, 100);
    run_.prune({9}, 100);
    EXPECT_EQ(run_.checkpoints().size(), 5U);
    run_.prune({1, 20, 10}, 40);  // that of step 100 is another try's, or was passed over
    EXPECT_EQ(run_.checkpoints(), (std::vector<fs::path>{run_.checkpoint_path(10), run_.checkpoint_path(20),
                                                         run_.checkpoint_path(40), run_.checkpoint_path(100)}));
    run_.prune({2}, 100);
    EXPECT_EQ(run_.checkpoints(), (std::vector<fs::path>{run_.checkpoint_path(40), run_.checkpoint_path(100)}));
}

TEST_F(RunFolderTest, OneProcessAtATime) {
    {
        const FolderLock lock = run_.lock();
        const std::string refusal = message_of<UsageError>([&] { const FolderLock second = run_.lock(); });
        EXPECT_NE(refusal.find("is in use by process " + std::to_string(::getpid()) + " on "), std::string::npos)
            << refusal;
    }
    const FolderLock again = run_.lock();
}

TEST_F(RunFolderTest, TemporariesOfTheDeadOnly) {
    const pid_t child = ::fork(), zombie = child == 0 ? 0 : ::fork();
    if (child == 0 || zombie == 0) ::_exit(0);
    ::waitpid(child, nullptr, 0);
    siginfo_t ended{};
    ::waitid(P_PID, static_cast<id_t>(zombie), &ended, WEXITED | WNOWAIT);  // nobody asks for its status
    std::string mine = temporary_name(run_.checkpoint_path(1)).filename().string();
    const std::string living = mine;
    mine.resize(mine.rfind('-') + 1);
    const fs::path dead = touch(mine + std::to_string(child)), alive = touch(living),
                   undead = touch(mine + std::to_string(zombie)),
                   elsewhere = touch(".step-00000001.h5.tmp-another-host-77"),
                   forgotten = touch(".step-00000002.h5.tmp-another-host-78"), stranger = touch("notes.txt"),
                   nameless = touch(".step-00000002.h5.tmp-");
    const fs::path complete = make(1);
    fs::last_write_time(forgotten, fs::file_time_type::clock::now() - std::chrono::hours(25));
    EXPECT_EQ(run_.remove_stale_temporaries(), 3U);
    ::waitpid(zombie, nullptr, 0);
    EXPECT_FALSE(fs::exists(dead) || fs::exists(undead) || fs::exists(forgotten));
    for (const fs::path& kept : {alive, elsewhere, stranger, nameless, complete}) EXPECT_TRUE(fs::exists(kept)) << kept;
}

TEST_F(RunFolderTest, ResolvesWhatTheUserMeans) {
    const std::string nothing = message_of<UsageError>([&] { resolve_checkpoint(run_.root()); });
    EXPECT_NE(nothing.find("run/checkpoints/step-*.h5"), std::string::npos) << nothing;
    EXPECT_NE(message_of<UsageError>([&] { resolve_checkpoint(folder_ / "none"); }).find("there is no"),
              std::string::npos);
    make(1);
    const fs::path newest = make(2);
    EXPECT_EQ(resolve_checkpoint(run_.root()), newest);
    EXPECT_EQ(resolve_checkpoint(run_.checkpoint_folder()), newest);
    EXPECT_EQ(resolve_checkpoint(run_.checkpoint_path(1)), run_.checkpoint_path(1));
    EXPECT_EQ(resolve_checkpoints(run_.root()).size(), 2U);
    write_whole(folder_ / "file", "x");
    EXPECT_NE(message_of<UsageError>([&] { RunFolder(folder_ / "file").create(); }).find("cannot make the folder"),
              std::string::npos);
}

}  // namespace
}  // namespace ulmpi
