// Oracles: round trips, the bytes of the file itself, and equality of files made twice.

#include "base/files/hdf5_file.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <thread>
#include <tuple>

#include "base/error.hpp"
#include "tests/base/temporary_folder.hpp"

namespace ulmpi {
namespace {

template <class T>
void expect_round_trip(const std::filesystem::path& path) {
    using Limits = std::numeric_limits<T>;
    const std::vector<T> values{Limits::lowest(), T{0}, T{1}, Limits::max(), T{42}, T{7}};
    {
        Hdf5File file = Hdf5File::create(path);
        file.write<T>("/group/inner/values", {2, 3}, values);
        file.close();
    }
    const Hdf5File file = Hdf5File::open(path);
    EXPECT_EQ(file.read<T>("/group/inner/values"), values);
    EXPECT_EQ(file.dataset("/group/inner/values").shape(), (Dims{2, 3}));
    EXPECT_EQ(file.dataset("/group/inner/values").type(), element_type_of<T>());
    EXPECT_EQ(element_size(element_type_of<T>()), sizeof(T));
}

TEST(Hdf5File, KeepsEveryElementType) {
    const TemporaryFolder folder;
    expect_round_trip<std::uint8_t>(folder / "file.h5");
    expect_round_trip<std::uint16_t>(folder / "file.h5");
    expect_round_trip<std::uint32_t>(folder / "file.h5");
    expect_round_trip<std::uint64_t>(folder / "file.h5");
    expect_round_trip<std::int32_t>(folder / "file.h5");
    expect_round_trip<std::int64_t>(folder / "file.h5");
    expect_round_trip<float>(folder / "file.h5");
    expect_round_trip<double>(folder / "file.h5");
}

// Every finite number of two bytes, put into the file as bits and read by its definition.
TEST(Hdf5File, WidensHalvesExactly) {
    const TemporaryFolder folder;
    const auto path = folder / "halves.h5";
    for (const auto& [type, mantissa_bits, bias] :
         {std::tuple{ElementType::f16, 10, 15}, std::tuple{ElementType::bf16, 7, 127}}) {
        EXPECT_EQ(element_size(type), 2U);
        std::vector<std::uint16_t> bits;
        std::vector<double> expected;
        for (int exponent = 0; exponent < (1 << (15 - mantissa_bits)) - 1; ++exponent)
            for (int mantissa = 0; mantissa < 1 << mantissa_bits; ++mantissa)
                for (int sign : {0, 1}) {
                    bits.push_back(static_cast<std::uint16_t>(sign << 15 | exponent << mantissa_bits | mantissa));
                    const double magnitude =
                        exponent == 0 ? std::ldexp(mantissa, 1 - bias - mantissa_bits)
                                      : std::ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
                    expected.push_back(sign == 1 ? -magnitude : magnitude);
                }
        Hdf5File file = Hdf5File::create(path);
        const std::uint64_t offset = file.create_contiguous("/x", type, {bits.size()}).byte_offset();
        file.close();
        std::fstream raw(path, std::ios::in | std::ios::out | std::ios::binary);
        raw.seekp(static_cast<std::streamoff>(offset));
        raw.write(reinterpret_cast<const char*>(bits.data()), static_cast<std::streamsize>(2 * bits.size()));
        raw.close();
        const Hdf5File made = Hdf5File::open(path);
        EXPECT_EQ(made.dataset("/x").type(), type);
        const std::vector<float> read = made.read<float>("/x");
        std::size_t different = 0;
        for (std::size_t i = 0; i < bits.size(); ++i) different += read[i] == expected[i] ? 0U : 1U;
        EXPECT_EQ(different, 0U);
        EXPECT_EQ(made.read<double>("/x"), expected);  // by HDF5 itself
        std::vector<float> box(3);
        made.dataset("/x").read({5}, {3}, std::span<float>(box));
        EXPECT_EQ(box, (std::vector<float>{read[5], read[6], read[7]}));
    }
}

TEST(Hdf5File, ReadsAndWritesBoxes) {
    const TemporaryFolder folder;
    Hdf5File file = Hdf5File::create(folder / "file.h5");
    std::vector<float> expected(4 * 5 * 6);
    std::iota(expected.begin(), expected.end(), 0.0f);
    file.write<float>("cube", {4, 5, 6}, expected);

    std::vector<double> box(2 * 3 * 2);
    Hdf5Dataset cube = file.dataset("cube");
    cube.read({1, 2, 3}, {2, 3, 2}, std::span(box));
    for (std::size_t i = 0; i < 2; ++i)
        for (std::size_t j = 0; j < 3; ++j)
            for (std::size_t k = 0; k < 2; ++k)
                EXPECT_EQ(box[(i * 3 + j) * 2 + k], expected[((1 + i) * 5 + 2 + j) * 6 + 3 + k]);

    const std::vector<float> row{-1, -2, -3, -4, -5, -6};
    cube.write<float>({3, 0, 0}, {1, 1, 6}, row);
    std::copy(row.begin(), row.end(), expected.begin() + 3 * 30);
    EXPECT_EQ(file.read<float>("cube"), expected);

    EXPECT_THROW(cube.read({3, 0, 0}, {2, 1, 6}, std::span(box)), Error);  // outside
    EXPECT_THROW(cube.read({0, 0, 0}, {2, 1, 5}, std::span(box)), Error);  // 10 elements into 12
    EXPECT_THROW(cube.read({0, 0}, {2, 6}, std::span(box)), Error);        // two dimensions
    EXPECT_NO_THROW(cube.read({0, 0, 0}, {0, 5, 6}, std::span<double>()));
}

TEST(Hdf5File, AppendsInAnyPieces) {
    const TemporaryFolder folder;
    std::vector<std::int32_t> all;
    {
        Hdf5File file = Hdf5File::create(folder / "file.h5");
        Hdf5Dataset tokens = file.create_extendable("tokens", ElementType::u16, 100);
        for (std::int32_t size : {0, 1, 99, 100, 250, 7}) {
            std::vector<std::int32_t> piece(static_cast<std::size_t>(size));
            std::iota(piece.begin(), piece.end(), static_cast<std::int32_t>(all.size()));
            tokens.append<std::int32_t>(piece);
            all.insert(all.end(), piece.begin(), piece.end());
        }
    }
    const Hdf5File file = Hdf5File::open(folder / "file.h5");
    EXPECT_EQ(file.read<std::int32_t>("tokens"), all);
    EXPECT_EQ(file.dataset("tokens").type(), ElementType::u16);
    EXPECT_THROW(file.dataset("tokens").byte_offset(), Error);
}

TEST(Hdf5File, KeepsTextsAndAttributes) {
    const TemporaryFolder folder;
    const std::string text = std::string("{\"a\": \"\xc3\xa9\"}\n") + '\0' + "after a NUL" + std::string(100000, 'x');
    const std::vector<std::string> list{"b", "", "a longer one", "\xe6\xbc\xa2"};
    {
        Hdf5File file = Hdf5File::create(folder / "file.h5");
        file.write_text("/config/json", text);
        file.write_text("empty", "");
        file.write_texts("classes", list);
        file.write_texts("none", {});
        file.set_attribute("/", "signed", -5);
        file.set_attribute("/", "unsigned", std::numeric_limits<std::uint64_t>::max());
        file.set_attribute("/config", "real", 0.1);
        file.set_attribute("/config/json", "text", "first");
        file.set_attribute("/config/json", "text", "replaced");
        file.set_attribute("/", "empty", "");
        file.close();
    }
    const Hdf5File file = Hdf5File::open(folder / "file.h5");
    EXPECT_EQ(file.read_text("/config/json"), text);
    EXPECT_EQ(file.read_text("empty"), "");
    EXPECT_EQ(file.read_texts("classes"), list);
    EXPECT_TRUE(file.read_texts("none").empty());
    EXPECT_EQ(file.dataset("classes").type(), ElementType::text);
    EXPECT_EQ(file.integer_attribute("/", "signed"), -5);
    EXPECT_EQ(file.unsigned_attribute("/", "unsigned"), std::numeric_limits<std::uint64_t>::max());
    EXPECT_EQ(file.real_attribute("/config", "real"), 0.1);
    EXPECT_EQ(file.text_attribute("/config/json", "text"), "replaced");
    EXPECT_EQ(file.text_attribute("/", "empty"), "");
    EXPECT_TRUE(file.has_attribute("/", "signed"));
    EXPECT_FALSE(file.has_attribute("/", "missing"));
    EXPECT_TRUE(file.exists("/config"));
    EXPECT_TRUE(file.exists("config/json"));
    EXPECT_FALSE(file.exists("/nowhere/json"));
    EXPECT_EQ(file.datasets(), (std::vector<std::string>{"/classes", "/config/json", "/empty", "/none"}));
    EXPECT_EQ(file.datasets("/config"), std::vector<std::string>{"/config/json"});
}

TEST(Hdf5File, TellsWhereTheBytesOfAContiguousDatasetAre) {
    const TemporaryFolder folder;
    const std::filesystem::path path = folder / "file.h5";
    std::uint64_t offset = 0;
    {
        Hdf5File file = Hdf5File::create(path);
        file.write_text("/first", "something in front");
        offset = file.create_contiguous("/optimizer/moment", ElementType::f32, {3, 4}).byte_offset();
        file.close();
    }
    std::vector<float> values(12);
    std::iota(values.begin(), values.end(), 0.5f);
    {
        std::fstream raw(path, std::ios::binary | std::ios::in | std::ios::out);
        raw.seekp(static_cast<std::streamoff>(offset));
        raw.write(reinterpret_cast<const char*>(values.data()), 48);
    }
    EXPECT_EQ(Hdf5File::open(path).read<float>("/optimizer/moment"), values);
    const std::string bytes = read_whole(path);
    EXPECT_EQ(bytes.substr(0, Hdf5File::user_block), std::string(Hdf5File::user_block, '\0'));
    EXPECT_EQ(bytes.substr(Hdf5File::user_block, 4), "\x89HDF");
    EXPECT_EQ(std::memcmp(bytes.data() + offset, values.data(), 48), 0);

    Hdf5File file = Hdf5File::open_to_change(path);
    file.dataset("/optimizer/moment").write<float>({0, 0}, {1, 1}, std::vector<float>{9});
    EXPECT_EQ(file.read<float>("/optimizer/moment")[0], 9.0f);
}

TEST(Hdf5File, EqualContentGivesEqualBytes) {
    const TemporaryFolder folder;
    const auto make = [&](const char* name) {
        Hdf5File file = Hdf5File::create(folder / name);
        Hdf5Dataset tokens = file.create_extendable("/a/b/tokens", ElementType::u16, 64);
        tokens.append<std::int32_t>(std::vector<std::int32_t>(1000, 3));
        file.write_text("/a/text", "text");
        file.write<double>("/numbers", {2}, std::vector<double>{1, 2});
        file.set_attribute("/", "count", 3);
    };
    make("one.h5");
    std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // the clock of HDF5's time stamps ticks in seconds
    make("two.h5");
    EXPECT_EQ(read_whole(folder / "one.h5"), read_whole(folder / "two.h5"));
}

TEST(Hdf5File, NamesFileAndDatasetInErrors) {
    const TemporaryFolder folder;
    write_whole(folder / "text.h5", "this is no HDF5 file");
    EXPECT_NE(message_of<Error>([&] { Hdf5File::open(folder / "text.h5"); }).find("text.h5"), std::string::npos);
    const std::string missing = message_of<Error>([&] { Hdf5File::open(folder / "missing.h5"); });
    EXPECT_NE(missing.find("missing.h5"), std::string::npos);
    EXPECT_NE(missing.find("No such file"), std::string::npos) << missing;
    Hdf5File file = Hdf5File::create(folder / "file.h5");
    const std::string dataset = message_of<Error>([&] { file.dataset("/tokens"); });
    EXPECT_NE(dataset.find("/tokens"), std::string::npos);
    EXPECT_NE(dataset.find("file.h5"), std::string::npos);
    file.write<float>("x", {}, std::vector<float>{1});
    const Hdf5Dataset open = file.dataset("x");
    EXPECT_THROW(file.close(), Error);
}

// HDF5 keeps a file that it could not write and tries again at exit, hence a process of its own.
[[noreturn]] void fill_the_disk(const std::filesystem::path& path) {
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{};
    limit.rlim_cur = limit.rlim_max = 100000;
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::string message = message_of<Error>([&] {
        Hdf5File file = Hdf5File::create(path);
        {
            Hdf5Dataset tokens = file.create_extendable("tokens", ElementType::f32, 1000);
            for (int i = 0; i < 100; ++i) tokens.append<float>(std::vector<float>(1000, 1.5f));
        }
        file.close();
    });
    std::fprintf(stderr, "%s\n", message.c_str());
    ::_exit(message.empty() ? 1 : 0);
}

TEST(Hdf5File, AFullDiskIsAnError) {
    const TemporaryFolder folder;
    EXPECT_EXIT(fill_the_disk(folder / "full.h5"), testing::ExitedWithCode(0), "full.h5.*File too large");
}

}  // namespace
}  // namespace ulmpi
