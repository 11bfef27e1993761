#include "base/bytes.h"

#include <gtest/gtest.h>

#include <limits>

namespace vramwise {
namespace {

TEST(Bytes, ArithmeticKeepsDeficits) {
  EXPECT_EQ(Bytes::gib(24).in_mib(), 24576);
  EXPECT_EQ((Bytes::mib(300) - Bytes::mib(1024)).count(), -724LL * 1048576);
  EXPECT_LT(Bytes::mib(1023), Bytes::gib(1));
}

TEST(Bytes, RoundsUpToGranules) {
  EXPECT_EQ(Bytes(1).rounded_up(Bytes(512)), Bytes(512));
  EXPECT_EQ(Bytes(512).rounded_up(Bytes(512)), Bytes(512));
  EXPECT_EQ(Bytes(0).rounded_up(Bytes(512)), Bytes(0));
}

TEST(BytesDeathTest, OverflowIsOurBug) {
  const Bytes largest(std::numeric_limits<std::int64_t>::max());
  EXPECT_DEATH(largest + Bytes(1), "check failed");
  EXPECT_DEATH(largest * 2, "check failed");
}

}  // namespace
}  // namespace vramwise
