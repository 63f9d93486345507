// Saved under one layout, loaded under any other. Oracle: every element is a function of its tensor's name and its
// index in the whole tensor; and the file has the same bytes whatever layout wrote it.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <utility>

#include "base/files/seal.hpp"
#include "checkpoints/format.hpp"
#include "tests/checkpoints/sample_model.hpp"

namespace ulmpi {
namespace {

class Layouts : public testing::TestWithParam<bool> {};

TEST_P(Layouts, SavedUnderOneLoadedUnderAnother) {
    const Communicator world = Communicator::world();
    const SharedFolder folder(world);
    const ModelConfig config = sample_config(GetParam());
    std::string first_file;
    under_every_grid(world, [&](const Topology& writing) {
        SampleModel written(writing, config);
        written.fill();
        const auto file = folder / (to_string(writing.extents) + ".h5");
        for (SaveMode mode : {SaveMode::sync, SaveMode::async})
            for (int threads : {1, 3}) {
                CheckpointWriter writer(written.store, written.moments(), writing, mode, threads);
                for (int time = 0; time < 2; ++time) {
                    EXPECT_EQ(save_while_learning(writer, mode, written, file, sample_metadata, sample_tokenizer),
                              std::nullopt);
                    EXPECT_EQ(written.differences(), 0U);
                    const std::string content = read_whole(file);
                    EXPECT_GT(content.size(), std::size_t{1000});
                    if (writing.all.rank() == 0) {
                        if (first_file.empty()) first_file = content;
                        EXPECT_EQ(content, first_file) << to_string(writing.extents) << " " << name_of(mode);
                    }
                    writing.all.barrier();
                }
            }
    });
    under_every_grid(world, [&](const Topology& reading) {
        SampleModel read(reading, config);
        for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
            read.clear();
            load_checkpoint(entry.path(), read.store, read.moments(), reading);
            EXPECT_EQ(read.differences(), 0U) << to_string(reading.extents) << " of " << entry.path();
        }
    });
}

INSTANTIATE_TEST_SUITE_P(Tied, Layouts, testing::Bool());

// An average of the weights stands under their names, for whoever wants weights; the other ones are there for those
// that go on with both.
TEST(Checkpoint, AnAverageStandsForTheWeights) {
    const Communicator world = Communicator::world();
    const SharedFolder folder(world);
    const ModelConfig config = sample_config(true);
    int number = 0;
    under_every_grid(world, [&](const Topology& writing) {
        for (SaveMode mode : {SaveMode::sync, SaveMode::async}) {
            SampleModel model(writing, config);
            model.average.resize(model.store.size());
            model.fill();
            CheckpointWriter writer(model.store, model.moments(), writing, mode);
            EXPECT_EQ(writer.memory(),
                      room_for(plan_save(model.store, true, writing, true), mode == SaveMode::async).bytes());
            const auto file = folder / (std::to_string(number++) + ".h5");
            EXPECT_EQ(save_while_learning(writer, mode, model, file, sample_metadata, sample_tokenizer), std::nullopt);
            writing.all.barrier();
        }
    });
    under_every_grid(world, [&](const Topology& reading) {
        for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
            SampleModel both(reading, config), weights(reading, config);
            both.average.resize(both.store.size());
            load_checkpoint(entry.path(), both.store, both.moments(), reading);
            EXPECT_EQ(both.differences(), 0U) << to_string(reading.extents) << " of " << entry.path();
            load_checkpoint(entry.path(), weights.store, {}, reading, {.moments = false});
            for (std::size_t i = 0; i < both.store.size(); ++i) EXPECT_EQ(weights.store.values()[i], both.average[i]);
            EXPECT_NE(message_of<UsageError>([&] {
                          load_checkpoint(entry.path(), weights.store, weights.moments(), reading);
                      }).find("a run with --ema"),
                      std::string::npos);
        }
    });
    const CheckpointInfo info = read_checkpoint_info(folder / "0.h5");
    EXPECT_TRUE(info.is_averaged && info.has_moments);
    EXPECT_EQ(info.format_version, 5U);
    EXPECT_NO_THROW(verify_checkpoint(folder / "0.h5"));
}

// The copies of all ranks are all tensors and nothing else; without copies a rank needs room for one tensor at most.
TEST(Checkpoint, WritersTakeTheRoomTheySay) {
    const Communicator world = Communicator::world();
    under_every_grid(world, [&](const Topology& topology) {
        SampleModel model(topology, sample_config(true));
        const SavePlan plan = plan_save(model.store, true, topology);
        std::size_t all = 0, largest = 0;
        for (const TensorPlacement& tensor : plan.tensors) {
            all += 3 * tensor.shape.size();
            largest = std::max(largest, tensor.shape.size());
        }
        std::size_t copied = room_for(plan, true).whole;
        topology.all.all_reduce_sum(std::span<std::size_t>(&copied, 1));
        EXPECT_EQ(copied, all);
        EXPECT_LE(room_for(plan, false).whole, largest);
        EXPECT_TRUE(topology.extents.tensor > 1 || room_for(plan, false).bytes() == 0);
        const CheckpointWriter writer(model.store, model.moments(), topology, SaveMode::async);
        EXPECT_EQ(writer.memory(), room_for(plan, true).bytes());
    });
}

// What the caller does before and after the renaming: once each, on rank 0, and a failure of it is one of the save.
TEST(Checkpoint, PublishingIsBetweenTwoCalls) {
    const Communicator world = Communicator::world();
    const SharedFolder folder(world);
    const Topology topology(world, {world.size(), 1, 1});
    SampleModel model(topology, sample_config(true));
    model.fill();
    const auto file = folder / "a.h5";
    for (SaveMode mode : {SaveMode::sync, SaveMode::async}) {
        CheckpointWriter writer(model.store, model.moments(), topology, mode);
        std::string calls;
        writer.begin({file, sample_metadata, sample_tokenizer,
                      [&] { calls += std::filesystem::exists(file) ? "?" : "before "; },
                      [&] { calls += std::filesystem::exists(file) ? "after" : "?"; }});
        EXPECT_TRUE(writer.busy());
        const SaveResult result = writer.finish();
        EXPECT_FALSE(writer.busy());
        EXPECT_EQ(result.failure, std::nullopt);
        EXPECT_GT(result.seconds, 0);
        EXPECT_EQ(calls, world.rank() == 0 ? "before after" : "");
        if (world.rank() == 0) {
            EXPECT_EQ(result.bytes, std::filesystem::file_size(file));
            std::filesystem::remove(file);
        }
        writer.begin({file, sample_metadata, sample_tokenizer, [] { throw Error("no metrics"); }});
        EXPECT_NE(writer.finish().failure.value_or("").find("no metrics"), std::string::npos);
        EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
        world.barrier();
    }
}

TEST(Checkpoint, InfoIsWhatWasSaved) {
    const Communicator world = Communicator::world();
    const SharedFolder folder(world);
    const Topology topology(world, {world.size(), 1, 1});
    SampleModel model(topology, sample_config(true));
    model.fill();
    const auto file = folder / "a.h5", weights_only = folder / "b.h5";
    EXPECT_EQ(save_checkpoint(file, sample_metadata, sample_tokenizer, model.store, model.moments(), topology),
              std::nullopt);
    EXPECT_EQ(save_checkpoint(weights_only, sample_metadata, "", model.store, {}, topology), std::nullopt);
    for (const CheckpointInfo& info : {read_checkpoint_info(file), read_checkpoint_info(file, world)}) {
        EXPECT_EQ(info.metadata, sample_metadata);
        EXPECT_EQ(info.tokenizer_json, sample_tokenizer);
        EXPECT_EQ(info.code_version, ULMPI_VERSION);
        EXPECT_EQ(info.format_version, 1U);
        EXPECT_TRUE(info.has_moments);
        EXPECT_EQ(info.bytes, std::filesystem::file_size(file));
        EXPECT_EQ(info.parameters(), model.store.counted_elements());
        EXPECT_EQ(info.tensors.size(), model.store.parameters().size());
        const auto qkv = std::ranges::find(info.tensors, "block.1.attention.qkv.weight", &TensorInfo::name);
        EXPECT_TRUE(qkv != info.tensors.end() && qkv->shape == (Dims{36, 12}));
    }
    EXPECT_FALSE(read_checkpoint_info(weights_only).has_moments);
    EXPECT_NO_THROW(verify_checkpoint(file));
    EXPECT_NO_THROW(verify_checkpoint(weights_only));
}

TEST(Checkpoint, WeightsAloneAndAnotherHead) {
    const Communicator world = Communicator::world();
    const SharedFolder folder(world);
    const int slices = world.size();
    const Topology topology(world, {1, 1, slices});
    const auto file = folder / "lm.h5";
    SampleModel lm(topology, sample_config(false));
    lm.fill();
    EXPECT_EQ(save_checkpoint(file, sample_metadata, sample_tokenizer, lm.store, lm.moments(), topology), std::nullopt);

    SampleModel same(topology, sample_config(false));
    load_checkpoint(file, same.store, same.moments(), topology, {.moments = false});
    EXPECT_EQ(same.differences(1, false), 0U);
    EXPECT_TRUE(std::ranges::all_of(same.first, [](float x) { return x == 0; }));

    SampleModel classifier(topology, sample_config(false), ClassifierConfig{.classes = 3});
    classifier.fill(2);
    load_checkpoint(file, classifier.store, {}, topology, {.moments = false, .may_be_new = [](const std::string& n) {
                                                               return n.starts_with("classifier.");
                                                           }});
    std::size_t fresh = 0, taken = 0;
    for (const Parameter& p : classifier.store.parameters()) {
        const bool is_new = p.name.starts_with("classifier.");
        (is_new ? fresh : taken) += p.size();
    }
    EXPECT_GT(fresh, std::size_t{0});
    const std::size_t unlike_lm = classifier.differences(1, false), unlike_before = classifier.differences(2, false);
    EXPECT_EQ(unlike_lm, fresh);
    EXPECT_GT(unlike_before, taken / 2);
    EXPECT_LE(unlike_before, taken);
}

// A vocabulary in terms of the file's: every row of every layout is what the definition makes of the whole table.
TEST(Checkpoint, AnotherVocabulary) {
    const Communicator world = Communicator::world();
    const SharedFolder folder(world);
    const auto file = folder / "lm.h5";
    const std::vector<std::vector<Token>> sources{{3}, {5, 2, 5}, {},  {36, 0}, {3}, {1, 2, 4, 8},
                                                  {},  {36},      {7}, {9},     {10}};
    const VocabularyMap map{37, sources};
    for (bool tied : {true, false})
        for (const Extents& extents : grids_of(world.size())) {
            const Topology topology(world, extents);
            ModelConfig config = sample_config(tied);
            SampleModel before(topology, config);
            before.fill();
            EXPECT_EQ(
                save_checkpoint(file, sample_metadata, sample_tokenizer, before.store, before.moments(), topology),
                std::nullopt);
            config.vocabulary = sources.size();
            SampleModel after(topology, config);
            load_checkpoint(file, after.store, {}, topology, {.moments = false, .vocabulary = &map});
            const Hdf5File whole = Hdf5File::open(file);
            std::size_t different = 0, tables = 0, others = 0;
            for (const Parameter& p : after.store.parameters()) {
                const std::span<const float> values = std::as_const(after.store).value_of(p);
                if (p.name != "token_embedding" && p.name != "output.weight") {
                    const auto same = std::ranges::find(before.store.parameters(), p.name, &Parameter::name);
                    others += std::ranges::equal(values, before.store.value_of(*same)) ? 0U : 1U;
                    continue;
                }
                ++tables;
                const std::vector<float> table = whole.read<float>("/" + p.name);
                const std::size_t first = p.slicing.whole() ? 0 : p.slicing.ranges[0].first;
                for (std::size_t i = 0; i < values.size(); ++i) {
                    std::vector<Token> rows = sources[first + i / config.hidden];
                    if (rows.empty()) {
                        rows.resize(37);
                        std::iota(rows.begin(), rows.end(), 0);
                    }
                    std::ranges::sort(rows);
                    double sum = 0;
                    for (Token row : rows)
                        sum += table[static_cast<std::size_t>(row) * config.hidden + i % config.hidden];
                    const auto mean = static_cast<float>(sum / static_cast<double>(rows.size()));
                    const bool exact = rows.size() == 1;
                    different += exact ? values[i] != mean : std::abs(values[i] - mean) > 1e-6F;
                }
            }
            EXPECT_EQ(different, 0U) << to_string(extents);
            EXPECT_EQ(others, 0U) << to_string(extents);
            int held = static_cast<int>(tables);
            topology.model.all_reduce_sum(std::span<int>(&held, 1));
            EXPECT_GE(held, tied ? 1 : 2);
            const std::string wrong = message_of<UsageError>([&] {
                const VocabularyMap other{36, sources};
                load_checkpoint(file, after.store, {}, topology, {.moments = false, .vocabulary = &other});
            });
            EXPECT_NE(wrong.find("in shape [37, 12], this model needs [36, 12]"), std::string::npos) << wrong;
        }
}

// Every refusal is a UsageError, the same on every rank, and names what is wrong.
TEST(Checkpoint, RefusesWhatDoesNotFit) {
    const Communicator world = Communicator::world();
    const SharedFolder folder(world);
    const Topology topology(world, {1, 1, world.size()});
    const auto file = folder / "a.h5", weights_only = folder / "b.h5", newer = folder / "newer.h5";
    SampleModel model(topology, sample_config(true));
    model.fill();
    EXPECT_EQ(save_checkpoint(file, sample_metadata, sample_tokenizer, model.store, model.moments(), topology),
              std::nullopt);
    EXPECT_EQ(save_checkpoint(weights_only, sample_metadata, sample_tokenizer, model.store, {}, topology),
              std::nullopt);
    const auto refusal = [&](const std::filesystem::path& path, SampleModel& into, const LoadPolicy& policy = {}) {
        const std::string message =
            message_of<UsageError>([&] { load_checkpoint(path, into.store, into.moments(), topology, policy); });
        EXPECT_EQ(message, broadcast_text(message, world, 0));
        return message;
    };
    const auto has = [](const std::string& message, const std::string& words) {
        EXPECT_NE(message.find(words), std::string::npos) << message;
    };

    has(refusal(weights_only, model), "moments");
    has(refusal(folder / "none.h5", model), "No such file");
    ModelConfig config = sample_config(true);
    config.layers = 4;
    SampleModel deeper(topology, config);
    has(refusal(file, deeper), "has no tensor block.3.");
    config.layers = 2;
    SampleModel shallower(topology, config);
    has(refusal(file, shallower), "has a tensor block.2.");
    config = sample_config(true);
    config.vocabulary = 50;
    SampleModel wider(topology, config);
    has(refusal(file, wider), "token_embedding in shape [37, 12], this model needs [50, 12]");

    if (world.rank() == 0) {
        write_whole(newer, read_whole(file));
        Hdf5File made = Hdf5File::open_to_change(newer);
        made.set_attribute("/", "format_version", checkpoint_format + 1);
        made.set_attribute("/", "code_version", "9.9");
        made.close();
        seal_file(newer, checkpoint_kind);
        write_whole(folder / "text.h5", "not a checkpoint");
        std::string damaged = read_whole(file);
        damaged[damaged.size() / 2] = static_cast<char>(damaged[damaged.size() / 2] ^ 4);
        write_whole(folder / "damaged.h5", damaged);
        write_whole(folder / "cut.h5", damaged.substr(0, damaged.size() / 2));
    }
    world.barrier();
    has(refusal(newer, model), fmt::format("format {}, made by a newer program (9.9)", checkpoint_format + 1));
    has(refusal(folder / "text.h5", model), "not a file of this program");
    has(refusal(folder / "damaged.h5", model), "damaged");
    has(refusal(folder / "cut.h5", model), "truncated");
    has(refusal(folder.path(), model), "is a folder");
}

}  // namespace
}  // namespace ulmpi
