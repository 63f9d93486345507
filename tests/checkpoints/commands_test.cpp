#include "checkpoints/commands.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <sstream>

#include "checkpoints/run_folder.hpp"
#include "tests/checkpoints/sample_model.hpp"

namespace ulmpi {
namespace {

// Runs `ulmpi checkpoint WORDS…`; the lines of rank 0's standard output are parsed as JSON.
struct Outcome {
    Outcome(std::vector<std::string> words, const Communicator& world) {
        testing::internal::CaptureStdout();
        testing::internal::CaptureStderr();
        status = checkpoint_command(words, world);
        errors = testing::internal::GetCapturedStderr();
        std::istringstream output(testing::internal::GetCapturedStdout());
        for (std::string line; std::getline(output, line);) lines.push_back(nlohmann::json::parse(line));
    }
    int status = 0;
    std::string errors;
    std::vector<nlohmann::json> lines;
};

TEST(CheckpointCommand, ShowAndVerify) {
    const Communicator world = Communicator::world();
    const SharedFolder folder(world);
    const RunFolder run(folder / "run");
    if (world.rank() == 0) run.create();
    world.barrier();
    const Topology topology(world, {world.size(), 1, 1});
    SampleModel model(topology, sample_config(true));
    for (std::uint64_t step : {10U, 20U})
        EXPECT_EQ(save_checkpoint(run.checkpoint_path(step),
                                  {{"progress", {{"step", step}}}, {"model", to_json(sample_config(true))}}, "{}",
                                  model.store, model.moments(), topology),
                  std::nullopt);
    const bool speaks = world.rank() == 0;
    const std::string path = run.root().string();

    const Outcome shown({"show", path}, world);
    EXPECT_EQ(shown.status, 0);
    EXPECT_EQ(shown.lines.size(), speaks ? 1U : 0U);
    if (speaks) {
        const nlohmann::json& line = shown.lines[0];
        EXPECT_EQ(line["step"], 20);
        EXPECT_EQ(line["parameters"], model.store.counted_elements());
        EXPECT_EQ(line["bytes"], std::filesystem::file_size(run.checkpoint_path(20)));
        EXPECT_EQ(line["model"], to_json(sample_config(true)));
        EXPECT_EQ(line["moments"], true);
        EXPECT_EQ(line["precision"], "fp32");
    }
    const std::string slim = (folder / "slim.h5").string();
    const Outcome slimmed({"slim", path, "--output", slim}, world), slim_shown({"show", slim}, world);
    EXPECT_EQ(slimmed.status, 0);
    if (speaks) {
        EXPECT_EQ(slimmed.lines.at(0)["from"], run.checkpoint_path(20).string());
        EXPECT_EQ(slim_shown.lines.at(0)["precision"], "fp16");
        EXPECT_EQ(slim_shown.lines.at(0)["moments"], false);
        EXPECT_EQ(slim_shown.lines.at(0)["slim"], true);
    }
    EXPECT_EQ(Outcome({"verify", slim}, world).status, 0);
    EXPECT_THROW(checkpoint_command(std::vector<std::string>{"slim", path, "--output", slim}, world), UsageError);
    EXPECT_THROW(checkpoint_command(std::vector<std::string>{"slim", path, "--output", slim + "/none/x.h5"}, world),
                 UsageError);
    const Outcome tensors({"show", run.checkpoint_path(10).string(), "--tensors", "on"}, world);
    EXPECT_EQ(tensors.lines.size(), speaks ? 1 + model.store.parameters().size() : 0U);

    const Outcome whole({"verify", path}, world);
    EXPECT_EQ(whole.status, 0);
    EXPECT_EQ(whole.lines.size(), speaks ? 2U : 0U);

    if (speaks) {
        std::string content = read_whole(run.checkpoint_path(20));
        content[content.size() - 1] = static_cast<char>(content[content.size() - 1] ^ 1);
        write_whole(run.checkpoint_path(20), content);
    }
    world.barrier();
    const Outcome damaged({"verify", path}, world);
    EXPECT_EQ(damaged.status, 1);
    if (speaks) {
        EXPECT_EQ(damaged.lines[0]["ok"], true);
        EXPECT_EQ(damaged.lines[1]["ok"], false);
        EXPECT_NE(damaged.errors.find("step-00000020.h5' is damaged"), std::string::npos) << damaged.errors;
    }
    EXPECT_THROW(checkpoint_command(std::vector<std::string>{"show", path}, world), UsageError);
    EXPECT_THROW(checkpoint_command(std::vector<std::string>{"verify", path + "/none"}, world), UsageError);
    EXPECT_THROW(checkpoint_command(std::vector<std::string>{"verify"}, world), UsageError);
}

}  // namespace
}  // namespace ulmpi
