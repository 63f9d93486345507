#include "base/error.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace ulmpi {
namespace {

/// Counts how often it is written.
struct Counted {
    int* times;
};

}  // namespace
}  // namespace ulmpi

template <>
struct fmt::formatter<ulmpi::Counted> : fmt::formatter<int> {
    template <typename Context>
    auto format(const ulmpi::Counted& counted, Context& context) const {
        return fmt::formatter<int>::format(++*counted.times, context);
    }
};

namespace ulmpi {
namespace {

TEST(CheckTest, AMessageIsPutTogetherWhenItIsSaid) {
    int times = 0;
    check(true, "number {}", Counted{&times});
    check_usage(true, "number {}", Counted{&times});
    EXPECT_EQ(times, 0);
    try {
        check(false, "number {} of {}", Counted{&times}, "some");
        FAIL();
    } catch (const Error& error) {
        EXPECT_STREQ(error.what(), "number 1 of some");
        EXPECT_NE(std::string(error.where().file_name()).find("error_test.cpp"), std::string::npos);
    }
    EXPECT_THROW(check_usage(false, "one text"), UsageError);
    EXPECT_THROW(check_usage(false, std::string("another's text, in {braces}")), UsageError);
}

}  // namespace
}  // namespace ulmpi
