#include "allocator/event.h"

#include <gtest/gtest.h>

namespace vramwise {
namespace {

TEST(AllocationEvent, NamesItsAllocationAndStream) {
  const auto event = AllocationEvent::allocate(7, 1000, 2);
  EXPECT_EQ(event.kind, EventKind::kAllocate);
  EXPECT_EQ(event.bytes, 1000);
  EXPECT_EQ(event.id, 7U);
  EXPECT_EQ(event.stream, 2);
  EXPECT_EQ(AllocationEvent::free(7).kind, EventKind::kFree);
}

}  // namespace
}  // namespace vramwise
