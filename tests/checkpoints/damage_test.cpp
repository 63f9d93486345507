// Damage of every kind is found before HDF5 sees a byte; and a stranger's tool reads what is not damaged.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <random>

#include "tests/checkpoints/sample_model.hpp"

namespace ulmpi {
namespace {

class Damage : public testing::Test {
protected:
    Damage() {
        const Topology topology(world_, {1, 1, 1});
        SampleModel model(topology, sample_config(true));
        model.fill();
        EXPECT_EQ(save_checkpoint(file_, {{"progress", {{"step", 3}}}}, R"({"a": 1})", model.store, model.moments(),
                                  topology),
                  std::nullopt);
        content_ = read_whole(file_);
    }
    // Overwrites one byte of the file in place.
    void put(std::size_t position, char byte) {
        const int file = ::open(file_.c_str(), O_WRONLY);
        EXPECT_EQ(::pwrite(file, &byte, 1, static_cast<off_t>(position)), 1);
        ::close(file);
    }
    bool is_refused() {
        return !message_of<UsageError>([&] { verify_checkpoint(file_); }).empty() &&
               !message_of<UsageError>([&] { read_checkpoint_info(file_); }).empty();
    }

    Communicator world_ = Communicator::world();
    TemporaryFolder folder_;
    std::filesystem::path file_ = folder_ / "step-00000003.h5";
    std::string content_;
};

TEST_F(Damage, EveryFlippedByteIsFound) {
    std::vector<std::size_t> positions(512);  // all of the seal, then 1,500 anywhere
    for (std::size_t i = 0; i < positions.size(); ++i) positions[i] = i;
    std::mt19937_64 random(7);
    for (int i = 0; i < 1500; ++i) positions.push_back(random() % content_.size());
    EXPECT_FALSE(is_refused());
    for (std::size_t position : positions) {
        put(position, static_cast<char>(content_[position] ^ static_cast<char>(1 + random() % 255)));
        EXPECT_TRUE(is_refused()) << "byte " << position;
        put(position, content_[position]);
    }
    EXPECT_FALSE(is_refused());
}

TEST_F(Damage, EveryOtherLengthIsFound) {
    std::mt19937_64 random(7);
    std::vector<std::size_t> lengths{0, 1, 511, 512, 513, content_.size() - 1, content_.size() + 1};
    for (int i = 0; i < 200; ++i) lengths.push_back(random() % content_.size());
    for (std::size_t length : lengths) {
        write_whole(file_, content_);
        std::filesystem::resize_file(file_, length);
        EXPECT_TRUE(is_refused()) << length << " bytes";
    }
}

// tests/checkpoints/read_with_h5py.py checks each tensor's checksum and shape with h5py and zlib alone.
TEST_F(Damage, ReadByH5py) {
    if (std::system("/usr/bin/python3 -c 'import h5py' 2> /dev/null") != 0)
        GTEST_SKIP() << "needs /usr/bin/python3 with h5py (Debian's python3-h5py)";
    EXPECT_EQ(std::system(("/usr/bin/python3 " ULMPI_H5PY_EXAMPLE " '" + file_.string() + "' > /dev/null").c_str()), 0);
}

}  // namespace
}  // namespace ulmpi
