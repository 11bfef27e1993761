#include "allocator/reserved_within.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>

#include "allocator/replay.h"

namespace vramwise {
namespace {

EventList random_events(std::mt19937& random) {
  const auto number = [&](int low, int high) { return std::uniform_int_distribution(low, high)(random); };
  EventList events;
  std::vector<AllocationId> alive;
  for (AllocationId id = 0; id < 400; ++id) {
    events.push_back(AllocationEvent::allocate(id, std::int64_t{number(0, 3000)} << number(0, 14)));
    alive.push_back(id);
    while (number(0, 99) < 45 && !alive.empty()) {
      const auto place = alive.begin() + number(0, static_cast<int>(alive.size()) - 1);
      events.push_back(AllocationEvent::free(*place));
      alive.erase(place);
    }
  }
  return events;
}

TEST(ReservedWithin, IsTheReplaysPeakOrLess) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  for (int i = 0; i < 50; ++i) {
    const EventList events = random_events(random);
    for (const bool expandable : {false, true}) {
      const AllocatorOptions options{.expandable_segments = expandable};
      const Replay whole = replay(events, options);
      EXPECT_EQ(reserved_within(events, options, whole.reserved.bytes), whole.reserved.bytes);
      EXPECT_EQ(reserved_within(events, options, whole.reserved.bytes - 1), std::nullopt);
      EXPECT_LE(least_reserved(events), whole.allocated.bytes);
    }
  }
}

TEST(ReservedWithin, MoreThanACardWithoutEndCountsIsNone) {
  const EventList events = {AllocationEvent::allocate(0, DeviceMemoryLimits::kUnlimited + 1), AllocationEvent::free(0)};
  EXPECT_EQ(reserved_within(events, {}, std::int64_t{1} << 60), std::nullopt);
}

TEST(ReservedWithin, TheLeastIsInGranules) {
  using Event = AllocationEvent;
  EXPECT_EQ(least_reserved(EventList{Event::allocate(0, 1), Event::allocate(1, 513), Event::free(0),
                                     Event::allocate(2, 512), Event::allocate(3, 0)}),
            1536);
}

}  // namespace
}  // namespace vramwise
