// Weights alone in half precision: rounding against its definition and numpy's, what comes back under every layout,
// what is refused.

#include "checkpoints/slim.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>

#include "base/files/half_float.hpp"
#include "base/files/seal.hpp"
#include "tests/checkpoints/sample_model.hpp"

namespace ulmpi {
namespace {

// The definition: sign, 5 bits of exponent, 10 of mantissa.
double value_of_half(std::uint16_t bits) {
    const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    const double magnitude = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
    return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

double widened(float x, ElementType precision) {
    if (precision == ElementType::f32) return x;
    if (precision == ElementType::f16) return value_of_half(half_from(x));
    const auto bits = std::bit_cast<std::uint32_t>(x);  // bfloat16 by its definition: the nearer of two neighbours
    const float below = std::bit_cast<float>(bits & 0xffff0000),
                above = std::bit_cast<float>((bits & 0xffff0000) + 0x10000);
    const double down = std::abs(double(x) - below), up = std::abs(above - double(x));
    return down < up || (down == up && (bits & 0x10000) == 0) ? below : above;
}

TEST(Half, IsTheNearestOfAll) {
    std::vector<float> tried;
    for (std::uint32_t bits = 0; bits < 0x7c00; ++bits) {
        const auto here = static_cast<float>(value_of_half(static_cast<std::uint16_t>(bits)));
        const auto next =
            bits + 1 < 0x7c00 ? static_cast<float>(value_of_half(static_cast<std::uint16_t>(bits + 1))) : 65536.0F;
        const float middle = (here + next) / 2;
        EXPECT_EQ(half_from(here), bits);
        EXPECT_EQ(float_from_half(static_cast<std::uint16_t>(bits)), here);
        EXPECT_EQ(float_from_half(static_cast<std::uint16_t>(bits | 0x8000)), -here);
        EXPECT_EQ(half_from(-here), bits | 0x8000);
        EXPECT_EQ(half_from(middle), bits + (bits & 1)) << middle;  // ties to even
        EXPECT_EQ(half_from(std::nextafter(middle, 0.0F)), bits) << middle;
        EXPECT_EQ(half_from(std::nextafter(middle, 1e9F)), bits + 1) << middle;
    }
    EXPECT_EQ(half_from(1e-30F), 0);
    EXPECT_EQ(half_from(-0.0F), 0x8000);
    EXPECT_EQ(half_from(1e30F), 0x7c00);
    EXPECT_EQ(half_from(-std::numeric_limits<float>::infinity()), 0xfc00);
    EXPECT_GT(half_from(std::numeric_limits<float>::quiet_NaN()) & 0x7fff, 0x7c00);
    EXPECT_EQ(float_from_half(0xfc00), -std::numeric_limits<float>::infinity());
    EXPECT_TRUE(std::isnan(float_from_half(0x7e00)));
}

class Slim : public testing::Test {
protected:
    // A checkpoint with moments, written by all ranks.
    void save(SampleModel& model, const Topology& topology) {
        EXPECT_EQ(save_checkpoint(whole_, sample_metadata, sample_tokenizer, model.store, model.moments(), topology),
                  std::nullopt);
    }
    // What rank 0 meets; all wait for it, and it for them.
    std::string slim(ElementType precision) {
        world_.barrier();
        std::string refusal;
        if (world_.rank() == 0) {
            std::filesystem::remove(slim_);
            refusal = message_of<UsageError>([&] { write_slim_checkpoint(whole_, slim_, precision); });
        }
        world_.barrier();
        return refusal;
    }

    Communicator world_ = Communicator::world();
    SharedFolder folder_{world_};
    std::filesystem::path whole_ = folder_ / "whole.h5", slim_ = folder_ / "slim.h5";
};

TEST_F(Slim, IsReadUnderEveryLayout) {
    for (ElementType precision : {ElementType::f16, ElementType::bf16, ElementType::f32})
        for (const Extents& extents : grids_of(world_.size())) {
            const Topology topology(world_, extents);
            SampleModel model(topology, sample_config(false)), read(topology, sample_config(false));
            model.fill();
            save(model, topology);
            EXPECT_EQ(slim(precision), "");
            load_checkpoint(slim_, read.store, read.moments(), topology, {.moments = false});
            std::size_t different = 0;
            for (const Parameter& p : model.store.parameters())
                for (std::size_t i = 0; i < p.size(); ++i)
                    different += read.store.value_of(p)[i] == widened(model.store.value_of(p)[i], precision) ? 0U : 1U;
            EXPECT_EQ(different, 0U) << precision_name(precision) << " " << to_string(extents);
        }
}

TEST_F(Slim, SaysWhatItIs) {
    const Topology topology(world_, {world_.size(), 1, 1});
    SampleModel model(topology, sample_config(true));
    model.fill();
    save(model, topology);
    for (ElementType precision : {ElementType::f16, ElementType::bf16, ElementType::f32}) {
        EXPECT_EQ(slim(precision), "");
        const CheckpointInfo info = read_checkpoint_info(slim_, world_);
        nlohmann::json expected = sample_metadata;
        expected["slim"] = true;
        EXPECT_EQ(info.metadata, expected);
        EXPECT_EQ(info.tokenizer_json, sample_tokenizer);
        EXPECT_FALSE(info.has_moments);
        EXPECT_EQ(info.format_version, precision == ElementType::f32 ? 1U : 2U);
        EXPECT_EQ(info.parameters(), model.store.counted_elements());
        for (const TensorInfo& tensor : info.tensors) EXPECT_EQ(tensor.type, precision) << tensor.name;
        EXPECT_LT(info.bytes, element_size(precision) * info.parameters() + 1024 * info.tensors.size() + 8192);
        EXPECT_NO_THROW(verify_checkpoint(slim_));
    }
    // To go on from it is refused, with the same words on every rank.
    const std::string refusal =
        message_of<UsageError>([&] { load_checkpoint(slim_, model.store, model.moments(), topology); });
    EXPECT_NE(refusal.find("a run can start from it (--init-from), but not be resumed"), std::string::npos) << refusal;
}

TEST_F(Slim, WhatIsRepresentableStays) {
    const Topology topology(world_, {1, 1, world_.size()});
    SampleModel model(topology, sample_config(true)), read(topology, sample_config(true));
    model.fill();
    for (float& x : model.store.values()) x = static_cast<float>(value_of_half(half_from(x)));
    save(model, topology);
    EXPECT_EQ(slim(ElementType::f16), "");
    load_checkpoint(slim_, read.store, {}, topology, {.moments = false});
    EXPECT_TRUE(std::ranges::equal(model.store.values(), read.store.values()));
}

TEST_F(Slim, NamesTheWeightThatDoesNotFit) {
    const Topology topology(world_, {world_.size(), 1, 1});
    SampleModel model(topology, sample_config(true));
    model.fill();
    const auto& p = *std::ranges::find(model.store.parameters(), "block.1.ffn.up.weight", &Parameter::name);
    model.store.value_of(p)[5] = 70000;
    save(model, topology);
    const std::string refusal = slim(ElementType::f16);
    if (world_.rank() == 0) {
        EXPECT_NE(refusal.find("block.1.ffn.up.weight holds 70000 (element 5), which fp16 cannot"), std::string::npos)
            << refusal;
        EXPECT_EQ(std::ranges::distance(std::filesystem::directory_iterator(folder_.path())), 1);
    }
    EXPECT_EQ(slim(ElementType::bf16), "");
    model.store.value_of(p)[5] = std::numeric_limits<float>::quiet_NaN();
    save(model, topology);
    for (ElementType precision : {ElementType::f16, ElementType::bf16}) {
        const std::string message = slim(precision);
        EXPECT_EQ(message.find("holds nan") != std::string::npos, world_.rank() == 0) << message;
    }
}

TEST_F(Slim, DamageIsFound) {
    const Topology topology(world_, {world_.size(), 1, 1});
    SampleModel model(topology, sample_config(true));
    model.fill();
    save(model, topology);
    EXPECT_EQ(slim(ElementType::f16), "");
    if (world_.rank() != 0) return;
    const std::string content = read_whole(slim_);
    std::mt19937_64 random(7);
    for (int i = 0; i < 300; ++i) {
        std::string damaged = content;
        char& byte = damaged[i < 100 ? static_cast<std::size_t>(i) : random() % content.size()];
        byte = static_cast<char>(byte ^ static_cast<char>(1 + random() % 255));
        write_whole(slim_, damaged);
        EXPECT_NE(message_of<UsageError>([&] { read_checkpoint_info(slim_); }), "") << i;
    }
    // Under a seal that fits, the tensor's own checksum finds it.
    std::string damaged = content;
    const std::uint64_t offset = [&] {
        write_whole(slim_, content);
        return Hdf5File::open(slim_).dataset("/block.1.ffn.up.weight").byte_offset();
    }();
    damaged[offset + 1] = static_cast<char>(damaged[offset + 1] ^ 1);
    write_whole(slim_, damaged);
    seal_file(slim_, checkpoint_kind);
    const std::string found = message_of<UsageError>([&] { verify_checkpoint(slim_); });
    EXPECT_NE(found.find("the checksum of /block.1.ffn.up.weight"), std::string::npos) << found;
}

// tests/checkpoints/slim_with_h5py.py rounds with numpy, or by its bits, and compares every element.
TEST_F(Slim, ReadByH5py) {
    if (std::system("/usr/bin/python3 -c 'import h5py' 2> /dev/null") != 0)
        GTEST_SKIP() << "needs /usr/bin/python3 with h5py (Debian's python3-h5py)";
    const Topology topology(world_, {world_.size(), 1, 1});
    SampleModel model(topology, sample_config(true));
    model.fill();
    std::mt19937 random(3);  // every magnitude that a half has, and below
    for (float& x : model.store.values()) x = std::ldexp(x, static_cast<int>(random() % 40) - 28);
    save(model, topology);
    for (ElementType precision : {ElementType::f16, ElementType::bf16}) {
        EXPECT_EQ(slim(precision), "");
        const std::string command = "/usr/bin/python3 " ULMPI_SLIM_H5PY " '" + whole_.string() + "' '" +
                                    slim_.string() + "' " + precision_name(precision);
        EXPECT_EQ(world_.rank() == 0 ? std::system(command.c_str()) : 0, 0);
        world_.barrier();
    }
}

}  // namespace
}  // namespace ulmpi
