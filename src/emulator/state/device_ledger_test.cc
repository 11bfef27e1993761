#include "emulator/state/device_ledger.h"

#include <gtest/gtest.h>

namespace vramwise::emulator {
namespace {

TEST(DeviceLedger, CountsWholeGranules) {
  DeviceLedger ledger(Bytes::mib(100), Bytes(0));
  EXPECT_TRUE(ledger.take(Bytes(1), {1, 10}));
  EXPECT_EQ(ledger.live(), Bytes::mib(2));
  EXPECT_TRUE(ledger.take(Bytes::mib(2) + Bytes(1), {2, 20}));
  EXPECT_EQ(ledger.live(), Bytes::mib(6));
  ledger.give_back(Bytes(1));
  EXPECT_EQ(ledger.live(), Bytes::mib(4));
  EXPECT_EQ(ledger.peak(), Bytes::mib(6));
  EXPECT_EQ(ledger.peak_moment().sequence, 2);
  EXPECT_EQ(ledger.allocations(), 2);
}

TEST(DeviceLedger, RefusesAtTheCardsSizeAndKeepsTheEvent) {
  DeviceLedger ledger(Bytes::mib(10), Bytes::mib(2));
  ASSERT_TRUE(ledger.open_context(Bytes::mib(3), {1, 0}));
  EXPECT_EQ(ledger.free(), Bytes::mib(5));
  EXPECT_TRUE(ledger.take(Bytes::mib(4), {2, 0}));
  EXPECT_FALSE(ledger.take(Bytes::mib(1), {3, 30})) << "one granule is 2 MiB, and only 1 is left";
  ASSERT_EQ(ledger.out_of_memory_events().size(), 1U);
  EXPECT_EQ(ledger.out_of_memory_events()[0].free, Bytes::mib(1));
  EXPECT_EQ(ledger.out_of_memory_events()[0].when.time_ns, 30);
  EXPECT_EQ(ledger.peak(), Bytes::mib(7)) << "the context counts";
}

TEST(DeviceLedger, OthersMayTakeMoreThanIsThere) {
  DeviceLedger ledger(Bytes::mib(10), Bytes(0));
  ASSERT_TRUE(ledger.take(Bytes::mib(8), {}));
  ledger.other_grows(Bytes::mib(4));
  EXPECT_EQ(ledger.free(), Bytes(0));
  EXPECT_FALSE(ledger.take(Bytes(1), {}));
}

}  // namespace
}  // namespace vramwise::emulator
