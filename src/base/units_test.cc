#include "base/units.h"

#include <gtest/gtest.h>

namespace vramwise {
namespace {

TEST(Units, ParsesNumbersWholly) {
  EXPECT_EQ(parse_number("20.5"), 20.5);
  EXPECT_EQ(parse_number("1e9"), 1e9);
  for (const char* bad : {"", "abc", "16gb", "nan", "inf", "1e999", " 1", "1 "})
    EXPECT_EQ(parse_number(bad), std::nullopt) << bad;
}

TEST(Units, GibToBytesIsExact) {
  EXPECT_EQ(bytes_from_gib(24).value(), Bytes::gib(24));
  EXPECT_EQ(bytes_from_gib(20.5).value(), Bytes::mib(20992));
  EXPECT_FALSE(bytes_from_gib(1e9).ok());
}

TEST(Units, FormatsForPeople) {
  EXPECT_EQ(format_gib(Bytes::mib(14460)), "14.12");
  EXPECT_EQ(format_mib(Bytes::gib(15)), "15360");
  EXPECT_EQ(format_size(Bytes(512)), "512 B");
  EXPECT_EQ(format_size(Bytes::mib(-1536)), "-1.50 GiB");
  EXPECT_EQ(format_count(135500000), "135.5 M");
  EXPECT_EQ(format_count(8030000000), "8.03 B");
}

TEST(Units, GroupsDigitsByThree) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(-123456), "-123,456");
  EXPECT_EQ(grouped(-1234567), "-1,234,567");
  EXPECT_EQ(grouped(9223372036854775807), "9,223,372,036,854,775,807");
}

}  // namespace
}  // namespace vramwise
