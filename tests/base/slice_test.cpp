#include "base/slice.hpp"

#include <gtest/gtest.h>

namespace ulmpi {
namespace {

TEST(EvenSliceTest, PartsFollowEachOtherAndDifferByOne) {
    for (std::size_t whole = 0; whole <= 40; ++whole)
        for (std::size_t parts = 1; parts <= 12; ++parts) {
            std::size_t next = 0, last_size = whole;
            for (std::size_t part = 0; part < parts; ++part) {
                const Range range = even_slice(whole, parts, part);
                EXPECT_EQ(range.first, next) << whole << " / " << parts;
                EXPECT_GE(range.size(), whole / parts);
                EXPECT_LE(range.size(), (whole + parts - 1) / parts);
                EXPECT_LE(range.size(), last_size) << "the larger parts come first";
                for (std::size_t i = 0; i < whole; ++i)
                    EXPECT_EQ(range.contains(i), range.first <= i && i < range.first + range.size());
                next = range.last;
                last_size = range.size();
            }
            EXPECT_EQ(next, whole);
        }
}

TEST(EvenSliceTest, IsAConstant) {
    static_assert(even_slice(10, 4, 0) == Range{0, 3});
    static_assert(even_slice(10, 4, 3) == Range{8, 10});
    static_assert(even_slice(2, 4, 3).size() == 0);
    SUCCEED();
}

}  // namespace
}  // namespace ulmpi
