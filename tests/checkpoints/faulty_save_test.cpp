// Every system call of a save fails once, on every rank, in every way. Oracles: the checkpoint of an undisturbed save,
// byte for byte; what stood in the folder before.

#include <gtest/gtest.h>

#include "tests/checkpoints/faulty_calls.hpp"
#include "tests/checkpoints/sample_model.hpp"

namespace ulmpi {
namespace {

ModelConfig one_layer() {
    ModelConfig config = sample_config(true);
    config.layers = 1;
    config.vocabulary = 22000;  // an embedding that is large enough to be written past the page cache
    return config;
}

class FaultySave : public testing::Test {
protected:
    FaultySave() : model_(topology_, one_layer()) {
        model_.fill();
        EXPECT_EQ(save(old_), std::nullopt);
        content_ = read_whole(old_);
        world_.barrier();
    }

    std::optional<std::string> save(const std::filesystem::path& file) {
        return save_checkpoint(file, sample_metadata, "{}", model_.store, model_.moments(), topology_);
    }

    // Saves while the call fails on one rank. All ranks say the same.
    std::optional<std::string> save_with_fault(const std::filesystem::path& file, int rank, long call,
                                               const char* kind) {
        world_.barrier();
        if (world_.rank() == rank) faulty_calls_begin(folder_.path().c_str(), call, kind);
        const std::optional<std::string> failure = save(file);
        if (world_.rank() == rank) calls_ = faulty_calls_end();
        calls_ = broadcast_value(calls_, world_, rank);
        EXPECT_EQ(failure.value_or(""), broadcast_text(failure.value_or(""), world_, 0));
        return failure;
    }

    std::size_t files() const {
        const std::filesystem::directory_iterator all(folder_.path()), end;
        return static_cast<std::size_t>(std::distance(all, end));
    }

    // Whatever has failed: nothing but whole checkpoints, no other file.
    void expect_order(const std::optional<std::string>& failure, const std::string& what) {
        EXPECT_EQ(read_whole(old_), content_) << what;
        const bool there = std::filesystem::exists(new_);
        EXPECT_TRUE(failure || there) << what;
        EXPECT_EQ(read_whole(new_), there ? content_ : "") << what;
        EXPECT_EQ(files(), there ? 2U : 1U) << what;
        world_.barrier();
        if (world_.rank() == 0) std::filesystem::remove(new_);
        world_.barrier();
    }

    Communicator world_ = Communicator::world();
    SharedFolder folder_{world_};
    Topology topology_{world_, world_.size() == 4 ? Extents{2, 1, 2} : Extents{world_.size(), 1, 1}};
    SampleModel model_;
    std::filesystem::path old_ = folder_ / "step-00000001.h5", new_ = folder_ / "step-00000002.h5";
    std::string content_;
    long calls_ = 0;
};

TEST_F(FaultySave, EveryCallInTurn) {
    for (int rank = 0; rank < world_.size(); ++rank) {
        EXPECT_EQ(save_with_fault(new_, rank, 0, ""), std::nullopt);
        EXPECT_EQ(faulty_calls_unflushed(), 0);
        const long calls = calls_;
        EXPECT_GT(calls, 3);
        expect_order(std::nullopt, "no fault");
        for (const char* kind : {"enospc", "eio", "short", "full"})
            for (long call = 1; call <= calls; ++call) {
                const std::optional<std::string> failure = save_with_fault(new_, rank, call, kind);
                const std::string what = std::to_string(rank) + " " + kind + " " + std::to_string(call);
                EXPECT_TRUE(!failure || std::string_view(kind) != "short") << what;
                expect_order(failure, what);
                if (call == calls) expect_order(save(new_), what + ", after that");
            }
    }
}

// What is replaced is the old checkpoint or the new one, and both are whole.
TEST_F(FaultySave, OverOneThatIsThere) {
    for (long call = 1, calls = 1; call <= calls; ++call) {
        EXPECT_EQ(save_with_fault(old_, 0, 0, ""), std::nullopt);
        calls = calls_;
        save_with_fault(old_, 0, call, "eio");
        EXPECT_EQ(read_whole(old_), content_);
        EXPECT_EQ(files(), 1U);
    }
}

TEST_F(FaultySave, OnAFileSystemThatBecomesReadOnly) {
    for (long call = 1; call == 1 || call <= calls_; ++call) {
        const auto failure = save_with_fault(new_, 0, call, "readonly");
        if (call > calls_) break;  // there were fewer calls than that
        EXPECT_EQ(read_whole(old_), content_);
        EXPECT_EQ(read_whole(new_), std::filesystem::exists(new_) ? content_ : "");
        world_.barrier();
        EXPECT_EQ(save(new_), std::nullopt);  // in place of what could not be removed
        EXPECT_EQ(files(), 2U);
        world_.barrier();
        if (world_.rank() == 0) std::filesystem::remove(new_);
    }
}

}  // namespace
}  // namespace ulmpi
