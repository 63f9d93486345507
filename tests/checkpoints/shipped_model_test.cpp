// Models found by name. The program of these tests lies in the build folder, so the folders beside it are made there.

#include "checkpoints/shipped_model.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

#include "base/error.hpp"
#include "base/files/sha256.hpp"
#include "checkpoints/run_folder.hpp"
#include "tests/base/temporary_folder.hpp"

namespace ulmpi {
namespace {

namespace fs = std::filesystem;

TEST(Sha256, GivesThePublishedDigests) {  // FIPS 180-2, appendix B
    const TemporaryFolder folder;
    write_whole(folder / "abc", "abc");
    EXPECT_EQ(sha256_of_file(folder / "abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    write_whole(folder / "million", std::string(1000000, 'a'));
    EXPECT_EQ(sha256_of_file(folder / "million"), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    EXPECT_NE(message_of<Error>([&] { sha256_of_file(folder / "none"); }).find("No such file"), std::string::npos);
}

TEST(ShippedModel, PlacesOfAProgram) {
    EXPECT_EQ(shipped_model_places("english", "/usr/local/bin/ulmpi"),
              (std::vector<fs::path>{"/usr/local/bin/models/english/english.h5",
                                     "/usr/local/share/ulmpi/models/english/english.h5",
                                     fs::path(ULMPI_SOURCE_DIR) / "models/english/english.h5"}));
    for (const char* no_name : {"", ".", "..", "runs/english", "/english", "english/"})
        EXPECT_TRUE(shipped_model_places(no_name, "/usr/bin/ulmpi").empty()) << no_name;
}

class Shipped : public testing::Test {
protected:
    Shipped() {
        fs::create_directories(model_.parent_path());
        write_whole(model_, "weights");
        write_sum(sha256_of_file(model_));
        fs::current_path(folder_.path());
    }
    ~Shipped() override {
        fs::current_path(before_);
        fs::remove_all(model_.parent_path());
    }
    void write_sum(const std::string& digits) {
        write_whole(model_.parent_path() / "SHA256SUMS", digits + "  " + name_ + ".h5\n");
    }

    const fs::path before_ = fs::current_path();
    const TemporaryFolder folder_;
    const std::string name_ = "test-" + std::to_string(::getpid());
    const fs::path model_ = shipped_model_places(name_)[0];
};

TEST_F(Shipped, IsFoundByName) {
    EXPECT_EQ(resolve_checkpoint(name_), model_);
    EXPECT_EQ(choice_by_name(name_, model_), name_ + " is '" + model_.string() + "', which comes with the program");
    EXPECT_EQ(choice_by_name("other", "other"), "");
    // A folder of that name without checkpoints is not meant; a run is.
    fs::create_directories(name_);
    EXPECT_EQ(resolve_checkpoint(name_), model_);
    const RunFolder run(name_);
    run.create();
    write_whole(run.checkpoint_path(7), "x");
    EXPECT_EQ(resolve_checkpoint(name_), run.checkpoint_path(7));
    EXPECT_TRUE(choice_by_name(name_, run.checkpoint_path(7)).starts_with("note: ")) << name_;
}

TEST_F(Shipped, AChangedFileIsRefused) {
    const auto refusal = [&] { return message_of<UsageError>([&] { resolve_checkpoint(name_); }); };
    write_whole(model_, "weighty");
    EXPECT_NE(refusal().find("is not the file that was shipped"), std::string::npos) << refusal();
    write_sum(sha256_of_file(model_));
    EXPECT_EQ(refusal(), "");
    fs::remove(model_.parent_path() / "SHA256SUMS");
    EXPECT_NE(refusal().find("SHA256SUMS' has no checksum of"), std::string::npos) << refusal();
}

TEST_F(Shipped, WhereItIsAbsentThePlacesAreNamed) {
    fs::remove(model_);
    const std::string refusal = message_of<UsageError>([&] { resolve_checkpoint(name_); });
    for (const fs::path& place : shipped_model_places(name_))
        EXPECT_NE(refusal.find("'" + place.string() + "'"), std::string::npos) << refusal;
    EXPECT_TRUE(refusal.starts_with("there is no run folder or checkpoint '" + name_ + "'")) << refusal;
}

}  // namespace
}  // namespace ulmpi
