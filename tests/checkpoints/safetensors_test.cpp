// Files that are not what they say. Oracle: the format's description, written out byte by byte here.

#include "checkpoints/safetensors.hpp"

#include <gtest/gtest.h>

#include <map>

#include "base/error.hpp"
#include "tests/base/temporary_folder.hpp"

namespace ulmpi {
namespace {

std::string little_endian(std::uint64_t number) {
    std::string bytes;
    for (int i = 0; i < 8; ++i) bytes += static_cast<char>(number >> 8 * i & 0xff);
    return bytes;
}

std::string with_header(const std::string& header, const std::string& data) {
    return little_endian(header.size()) + header + data;
}

class Safetensors : public testing::Test {
protected:
    std::string refusal_of(const std::string& content) {
        write_whole(path_, content);
        return message_of<UsageError>([&] { SafetensorsFile file(path_); });
    }

    TemporaryFolder folder_;
    std::filesystem::path path_ = folder_ / "model.safetensors";
};

TEST_F(Safetensors, EveryTypeIsReadExactly) {
    const float floats[] = {1.5F, -2.0F, 1e-30F};
    std::string data(reinterpret_cast<const char*>(floats), sizeof floats);
    data += std::string("\x00\x3c\x00\xc0", 4);  // 1, -2 as halves
    data += std::string("\x80\x3f\x49\x40", 4);  // 1, 3.140625 as bfloat16
    write_whole(path_, with_header(R"({"__metadata__": {"format": "pt"},
                                       "half": {"dtype": "F16", "shape": [2, 1], "data_offsets": [12, 16]},
                                       "brain": {"dtype": "BF16", "shape": [2], "data_offsets": [16, 20]},
                                       "float": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}}   )",
                                   data));
    SafetensorsFile file(path_);
    ASSERT_EQ(file.tensors().size(), 3U);
    EXPECT_EQ(file.tensors()[0].name, "float");
    EXPECT_EQ(file.tensors()[1].shape, (Dims{2, 1}));
    EXPECT_EQ(file.tensors()[2].type, ElementType::bf16);
    EXPECT_EQ(file.read(file.tensors()[0]), (std::vector<float>{1.5F, -2.0F, 1e-30F}));
    EXPECT_EQ(file.read(file.tensors()[2]), (std::vector<float>{1.0F, 3.140625F}));
    EXPECT_EQ(file.read(file.tensors()[1]), (std::vector<float>{1.0F, -2.0F}));
}

TEST_F(Safetensors, EveryPrefixIsRefused) {
    const std::string whole =
        with_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", std::string(8, '\1'));
    EXPECT_EQ(refusal_of(whole), "");
    for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_NE(refusal_of(whole.substr(0, size)), "") << size;
    EXPECT_NE(refusal_of(whole + "x").find("1 bytes behind the last tensor"), std::string::npos);
}

TEST_F(Safetensors, HostileHeaders) {
    const std::string deep(100000, '[');
    const std::map<std::string, std::string> refused{
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", "has 4 bytes instead of 8"},
        {R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", R"("a" lies at 0 to 16 of 8 bytes)"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", R"("a" lies at 8 to 0 of 8 bytes)"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,0]}})", "lies at"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551616]}})", "no whole number"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})", "no whole number"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", "not two numbers"},
        {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", "too large to be true"},
        {R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", "no list"},
        {R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", "no whole number"},
        {R"({"a":{"dtype":"F32","shape":[1,1,1,1,2],"data_offsets":[0,8]}})", "up to 4 numbers"},
        {R"({"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})", R"("a" has the type "I64")"},
        {R"({"a":{"dtype":7,"shape":[1],"data_offsets":[0,8]}})", R"("a" has the type 7)"},
        {R"({"a":{"shape":[2],"data_offsets":[0,8]}})", R"("a" has no dtype)"},
        {R"({"a":[1,2,3]})", R"("a" has no dtype)"},
        {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
         R"("b" overlaps)"},
        {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", R"("a" leaves a gap)"},
        {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "4 bytes behind the last tensor"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
         R"(has "a" twice)"},
        {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"shape":[1,2]}})", R"(has "shape" twice)"},
        {R"({"a":)" + deep, "nested too deeply"},
        {R"({"a":{"dtype":"F32")", "not JSON"},
        {R"([])", "no object"},
        {R"({})", "8 bytes behind"},
    };
    for (const auto& [header, said] : refused) {
        const std::string refusal = refusal_of(with_header(header, std::string(8, '\1')));
        EXPECT_NE(refusal.find(said), std::string::npos) << header.substr(0, 200) << "\n" << refusal;
        EXPECT_NE(refusal.find("model.safetensors"), std::string::npos) << refusal;
    }
    for (std::uint64_t length : {std::uint64_t{9}, std::uint64_t{1} << 40, ~std::uint64_t{0}})
        EXPECT_NE(refusal_of(little_endian(length) + "{}      ").find("ends behind"), std::string::npos);
    std::filesystem::remove(path_);
    EXPECT_NE(message_of<UsageError>([&] { SafetensorsFile file(path_); }).find("cannot open"), std::string::npos);
    EXPECT_NE(message_of<UsageError>([&] { SafetensorsFile file(folder_.path()); }).find("is not a file"),
              std::string::npos);
}

// Whatever a changed byte makes of a file: it is read or refused, and nothing else.
TEST_F(Safetensors, ChangedBytes) {
    const std::string whole = with_header(
        R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[1,2],"data_offsets":[8,12]}})",
        std::string(12, '\1'));
    for (std::size_t i = 0; i + 12 < whole.size(); ++i)
        for (int bit = 0; bit < 8; ++bit) {
            std::string damaged = whole;
            damaged[i] = static_cast<char>(damaged[i] ^ 1 << bit);
            if (refusal_of(damaged).empty()) {
                SafetensorsFile file(path_);
                for (const SafetensorsTensor& tensor : file.tensors())
                    EXPECT_EQ(file.read(tensor).size(), tensor.elements());
            }
        }
}

}  // namespace
}  // namespace ulmpi
