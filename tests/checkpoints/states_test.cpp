// What recurrent modules carry, through checkpoints. Oracle: every element is a function of its tensor's name, its
// stream and its column.

#include <gtest/gtest.h>

#include "tests/checkpoints/sample_model.hpp"

namespace ulmpi {
namespace {

// What streams carry is saved whole, whichever replica computed it, and read by any layout.
TEST(Checkpoint, StatesOfStreams) {
    const Communicator world = Communicator::world();
    const SharedFolder folder(world);
    ModelConfig config;
    config.architecture = Architecture::awd_lstm;
    config.layers = 3;
    config.embedding = 9;
    config.hidden = 11;
    config.vocabulary = 37;
    constexpr std::size_t streams = 5;
    const auto value = [](const Parameter& p, std::size_t stream, std::size_t column) {
        return static_cast<float>(random_key(stream * 1000 + column, p.name) % 1000) / 1000;
    };
    // Calls f(element, its value in truth) for what this rank holds of the streams.
    const auto for_each = [&](CarriedStates& states, Range mine, const auto& f) {
        for (const Parameter& p : states.tensors().parameters()) {
            const Range columns = p.slicing.whole() ? Range{0, p.global.extent[1]} : p.slicing.ranges[0];
            for (std::size_t stream = mine.first; stream < mine.last; ++stream)
                for (std::size_t c = columns.first; c < columns.last; ++c)
                    f(states.tensors().value_of(p)[stream * columns.size() + c - columns.first], value(p, stream, c));
        }
    };
    std::string first_file;
    under_every_grid(world, [&](const Topology& writing) {
        for (SaveMode mode : {SaveMode::sync, SaveMode::async}) {
            SampleModel model(writing, config);
            model.fill();
            CarriedStates states(model.stage.states(), streams);
            const Range mine = even_slice(streams, static_cast<std::size_t>(writing.extents.data),
                                          static_cast<std::size_t>(writing.at.data));
            for_each(states, mine, [](float& element, float truth) { element = truth; });
            states.share(mine, writing.data);
            Moments moments = model.moments();
            moments.states = &states.tensors();
            const auto file = folder / (to_string(writing.extents) + ".h5");
            CheckpointWriter writer(model.store, moments, writing, mode);
            EXPECT_EQ(save_while_learning(writer, mode, model, file, sample_metadata, sample_tokenizer), std::nullopt);
            const std::string content = read_whole(file);
            if (writing.all.rank() == 0) {
                if (first_file.empty()) first_file = content;
                EXPECT_EQ(content, first_file) << to_string(writing.extents);
            }
            writing.all.barrier();
        }
    });
    under_every_grid(world, [&](const Topology& reading) {
        for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
            SampleModel model(reading, config);
            CarriedStates states(model.stage.states(), streams), others(model.stage.states(), streams + 1);
            Moments moments = model.moments();
            moments.states = &states.tensors();
            load_checkpoint(entry.path(), model.store, moments, reading);
            for_each(states, {0, streams}, [](float element, float truth) { EXPECT_EQ(element, truth); });
            moments.states = &others.tensors();
            EXPECT_NE(message_of<UsageError>([&] {
                          load_checkpoint(entry.path(), model.store, moments, reading);
                      }).find("--global-batch-size 5, not 6"),
                      std::string::npos);
        }
    });
}

}  // namespace
}  // namespace ulmpi
