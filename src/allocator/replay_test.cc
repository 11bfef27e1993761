#include "allocator/replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vramwise {
namespace {

constexpr std::int64_t kMiB = std::int64_t{1} << 20;
using Event = AllocationEvent;
using testing::ElementsAre;

TEST(Replay, FindsPeaksAndWhereTheyAre) {
  const EventList events = {Event::allocate(0, 10 * kMiB),
                            Event::allocate(1, 20 * kMiB),
                            Event::free(0),
                            Event::allocate(2, 4 * kMiB),
                            Event::free(1),
                            Event::free(2)};
  const Replay result = replay(events);
  EXPECT_TRUE(result.fits());
  EXPECT_EQ(result.allocated.bytes, 30 * kMiB);
  EXPECT_EQ(result.allocated.event, 1U);
  EXPECT_EQ(result.reserved.bytes, 30 * kMiB);
  EXPECT_EQ(result.reserved.event, 1U) << "4 MiB fit into the 10 that were freed";
  EXPECT_THAT(alive_after(events, result.allocated.event), ElementsAre(0, 1));
  EXPECT_THAT(alive_after(events, 3), ElementsAre(1, 2));
}

TEST(Replay, TellsThePeakOfEachPhase) {
  const EventList events = {
      Event::allocate(0, 10 * kMiB), Event::mark(3), Event::allocate(1, 20 * kMiB), Event::free(1), Event::mark(4),
      Event::allocate(2, 5 * kMiB)};
  const Replay result = replay(events);
  ASSERT_EQ(result.phases.size(), 2U);
  EXPECT_EQ(result.phases[0].number, 3U);
  EXPECT_EQ(result.phases[0].allocated_bytes, 30 * kMiB);
  EXPECT_EQ(result.phases[1].number, 4U);
  EXPECT_EQ(result.phases[1].allocated_bytes, 15 * kMiB);
  EXPECT_EQ(result.phases[1].reserved_bytes, 30 * kMiB);
}

TEST(Replay, StopsWhereMemoryRunsOut) {
  const EventList events = {Event::allocate(0, 30 * kMiB), Event::outside(20 * kMiB), Event::allocate(1, 60 * kMiB),
                            Event::allocate(2, 1)};
  const Replay result = replay(events, {}, {.total_bytes = 100 * kMiB});
  ASSERT_TRUE(result.out_of_memory.has_value());
  EXPECT_EQ(result.out_of_memory->event, 2U);
  EXPECT_EQ(result.out_of_memory->requested_bytes, 60 * kMiB);
  EXPECT_EQ(result.out_of_memory->missing_bytes, 10 * kMiB);
  EXPECT_TRUE(replay(events, {}, {.total_bytes = 112 * kMiB}).fits());
}

TEST(Replay, FreedLaterCannotBeUsedBefore) {
  const EventList events = {Event::allocate(0, 16 * kMiB), Event::free_later(0), Event::allocate(1, 16 * kMiB),
                            Event::free_done(0), Event::allocate(2, 16 * kMiB)};
  const Replay result = replay(events);
  EXPECT_EQ(result.allocated.bytes, 32 * kMiB);
  EXPECT_EQ(result.allocated.event, 4U);
  EXPECT_EQ(result.reserved.bytes, 32 * kMiB);
  const Replay tight = replay(events, {}, {.total_bytes = 30 * kMiB});
  EXPECT_EQ(tight.stats.num_alloc_retries, 2) << "the first retry waits for the other streams";
  ASSERT_FALSE(tight.fits());
  EXPECT_EQ(tight.out_of_memory->event, 4U);
}

TEST(Replay, NothingTakesNothing) {
  const EventList events = {Event::allocate(0, 0), Event::record_stream(0, 1), Event::free(0), Event::allocate(0, 512)};
  const Replay result = replay(events);
  EXPECT_EQ(result.allocated.bytes, 512);
  EXPECT_EQ(result.stats.allocation.current, 1);
}

}  // namespace
}  // namespace vramwise
