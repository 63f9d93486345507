// Saves that fail, at any point and on any rank: every rank gets the same message, none waits, the checkpoint before
// stays as it was, no temporary file is left, and the same writer saves again afterwards.

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <csignal>

#include "tests/checkpoints/sample_model.hpp"

namespace ulmpi {
namespace {

// Lowers a limit of this process while it lives.
class LowerLimit {
public:
    LowerLimit(decltype(RLIMIT_FSIZE) resource, rlim_t limit) : resource_(resource) {
        ::getrlimit(resource_, &before_);
        const rlimit lower{limit, before_.rlim_max};
        ::setrlimit(resource_, &lower);
    }
    LowerLimit(const LowerLimit&) = delete;
    LowerLimit& operator=(const LowerLimit&) = delete;
    ~LowerLimit() { ::setrlimit(resource_, &before_); }

private:
    decltype(RLIMIT_FSIZE) resource_;
    rlimit before_{};
};

class FailedSave : public testing::TestWithParam<SaveMode> {
protected:
    FailedSave()
        : model_(topology_, sample_config(true)), writer_(model_.store, model_.moments(), topology_, GetParam()) {
        std::signal(SIGXFSZ, SIG_IGN);  // a write beyond the limit fails with EFBIG instead
        model_.fill();
        EXPECT_EQ(save(good_), std::nullopt);
        content_ = read_whole(good_);
    }

    std::optional<std::string> save(const std::filesystem::path& file) {
        return save_while_learning(writer_, GetParam(), model_, file, sample_metadata, "{}");
    }
    void expect_failure(const std::optional<std::string>& message, const std::string& words) {
        EXPECT_TRUE(message.has_value());
        const std::string mine = message.value_or("");
        EXPECT_NE(mine.find(words), std::string::npos) << mine;
        EXPECT_EQ(mine, broadcast_text(mine, world_, 0));
        EXPECT_EQ(read_whole(good_), content_);
        std::size_t files = 0;
        for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder_.path())) ++files;
        EXPECT_EQ(files, 1U);
        world_.barrier();
    }

    Communicator world_ = Communicator::world();
    SharedFolder folder_{world_};
    Topology topology_{world_, world_.size() == 4 ? Extents{2, 1, 2} : Extents{world_.size(), 1, 1}};
    SampleModel model_;
    CheckpointWriter writer_;
    std::filesystem::path good_ = folder_ / "step-00000001.h5";
    std::string content_;
};

TEST_P(FailedSave, LimitOnTheSizeOfFiles) {
    for (std::size_t limit : {std::size_t{0}, std::size_t{1000}, content_.size() / 2, content_.size() - 1}) {
        std::optional<std::string> message;
        {
            const LowerLimit lower(RLIMIT_FSIZE, limit);
            message = save(good_);
        }
        expect_failure(message, "too large for the limit");
    }
    const LowerLimit lower(RLIMIT_FSIZE, content_.size() * 4);
    EXPECT_EQ(save(good_), std::nullopt);
    EXPECT_EQ(read_whole(good_), content_);
}

TEST_P(FailedSave, OnOneRankOnly) {
    for (int rank = 0; rank < world_.size(); ++rank) {
        std::optional<std::string> message;
        {
            const LowerLimit lower(RLIMIT_FSIZE, world_.rank() == rank ? 2000 : RLIM_INFINITY);
            message = save(folder_ / "step-00000002.h5");
        }
        expect_failure(message, rank == 0 ? "too large for the limit" : "File too large");
        {
            const LowerLimit lower(RLIMIT_NOFILE, world_.rank() == rank ? 3 : 1024);
            message = save(folder_ / "step-00000002.h5");
        }
        expect_failure(message, "Too many open files");
    }
}

// A disk that fills up after 1, 2, 3, … pages of the new checkpoint.
TEST_P(FailedSave, DiskFullAtEveryPage) {
    const std::size_t page = 4096, pages = content_.size() / page + 1;
    std::int32_t mounted = 1;
    for (std::size_t room = 0; mounted == 1 && room <= pages + 1; room += 3) {
        const auto disk = folder_ / "disk";
        const std::string size = "size=" + std::to_string((pages + room) * page);
        if (world_.rank() == 0) {
            std::filesystem::create_directory(disk);
            mounted = ::mount("ulmpi-test", disk.c_str(), "tmpfs", 0, size.c_str()) == 0 ? 1 : 0;
            if (mounted == 1) write_whole(disk / "step-00000001.h5", content_);
        }
        mounted = broadcast_value(mounted, world_, 0);
        if (mounted == 1) {
            const auto message = save(disk / "step-00000002.h5");
            const bool fits = room >= pages;
            EXPECT_EQ(message.has_value(), !fits) << room << " of " << pages << " pages";
            EXPECT_EQ(message.value_or("").find("No space left on device") != std::string::npos, !fits);
            EXPECT_EQ(read_whole(disk / "step-00000001.h5"), content_);
            EXPECT_EQ(read_whole(disk / "step-00000002.h5"), fits ? content_ : "");
            const std::filesystem::directory_iterator files(disk), end;
            EXPECT_EQ(std::distance(files, end), fits ? 2 : 1);
        }
        world_.barrier();
        if (world_.rank() == 0) {
            if (mounted == 1) ::umount(disk.c_str());
            std::filesystem::remove(disk);
        }
        world_.barrier();
    }
    if (mounted == 0) GTEST_SKIP() << "a small file system of its own needs the right to mount";
}

TEST_P(FailedSave, NoSuchFolder) {
    expect_failure(save(folder_ / "none" / "step-00000002.h5"), "No such file or directory");
    expect_failure(save(good_ / "step-00000002.h5"), "Not a directory");
    EXPECT_EQ(save(good_), std::nullopt);
}

INSTANTIATE_TEST_SUITE_P(Modes, FailedSave, testing::Values(SaveMode::sync, SaveMode::async),
                         [](const auto& mode) { return name_of(mode.param); });

}  // namespace
}  // namespace ulmpi
