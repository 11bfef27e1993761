#include "allocator/steady_state.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <utility>

#include "allocator/replay.h"
#include "allocator/reserved_within.h"
#include "allocator/test_support.h"

namespace vramwise {
namespace {

using Event = AllocationEvent;
constexpr std::int64_t kMiB = std::int64_t{1} << 20;

struct Repeated {
  EventList events;
  EventRepeat repeat;
};

/// `stretch` `times` times after `before`, each time under ids of its own.
Repeated repeated(EventList before, const EventList& stretch, int times) {
  constexpr AllocationId kIds = 1000;
  Repeated all{.events = std::move(before), .repeat = {}};
  all.repeat = {.first = all.events.size(), .last = all.events.size() + stretch.size()};
  for (int i = 0; i < times; ++i) {
    for (Event event : stretch) {
      if (event.kind != EventKind::kMark && event.id >= kIds) event.id += static_cast<AllocationId>(i) * kIds;
      all.events.push_back(event);
    }
  }
  return all;
}

class Draw {
 public:
  explicit Draw(unsigned seed) : random_(seed) {}
  int number(int low, int high) { return std::uniform_int_distribution(low, high)(random_); }

  Repeated run() {
    for (std::int64_t& size : sizes_) size = std::int64_t{number(1, 3000)} << number(0, 14);
    EventList before = {Event::mark(0)}, stretch;
    std::vector<AllocationId> none;
    allocate(before, none, 0, number(1, 30));
    std::vector<AllocationId> alive;
    for (int phase = 0; phase < 3; ++phase) {
      stretch.push_back(Event::mark(static_cast<std::uint32_t>(phase)));
      allocate(stretch, alive, 1000 + 300 * static_cast<AllocationId>(phase), number(1, 60));
    }
    // Mostly all go; what stays makes the next time another one.
    const std::size_t stay = number(0, 9) == 0 ? 1 : 0;
    while (alive.size() > stay) free_one(stretch, alive);
    return repeated(std::move(before), stretch, number(2, 4));
  }

 private:
  void allocate(EventList& events, std::vector<AllocationId>& alive, AllocationId first, int count) {
    for (AllocationId id = first; id < first + static_cast<AllocationId>(count); ++id) {
      events.push_back(Event::allocate(id, sizes_[number(0, 5)]));
      alive.push_back(id);
      while (first > 0 && number(0, 99) < 45 && !alive.empty()) free_one(events, alive);
    }
  }
  void free_one(EventList& events, std::vector<AllocationId>& alive) {
    const auto place = alive.begin() + number(0, static_cast<int>(alive.size()) - 1);
    events.push_back(Event::free(*place));
    alive.erase(place);
  }

  std::mt19937 random_;
  std::int64_t sizes_[6] = {};
};

bool reaches_a_steady_state(const Repeated& run, const AllocatorOptions& options = {}) {
  CachingAllocator allocator(options, DeviceMemory());
  Replayer replayer(allocator);
  const std::span events(run.events);
  for (const Event& event : events.first(run.repeat.first)) replayer.apply(event);
  const auto stretch = events.subspan(run.repeat.first, run.repeat.last - run.repeat.first);
  const SteadyState state(allocator, stretch);
  for (const Event& event : stretch) replayer.apply(event);
  return state.is_reached();
}

TEST(SteadyState, AShortenedReplayIsTheWholeOne) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  Draw draw(seed);
  int reached = 0;
  constexpr int kRuns = 300;
  for (int i = 0; i < kRuns; ++i) {
    const Repeated run = draw.run();
    const AllocatorOptions options{.expandable_segments = i % 10 == 0};
    const Replay whole = replay(run.events, options);
    expect_same(whole, replay(run.events, options, {}, run.repeat));
    for (const std::int64_t most : {whole.reserved.bytes, whole.reserved.bytes - 1, whole.allocated.bytes})
      EXPECT_EQ(reserved_within(run.events, options, most), reserved_within(run.events, options, most, run.repeat));
    const DeviceMemoryLimits card{.total_bytes = std::max(2 * kMiB, whole.reserved.bytes - draw.number(0, 8) * kMiB)};
    expect_same(replay(run.events, options, card), replay(run.events, options, card, run.repeat));
    reached += reaches_a_steady_state(run, options) ? 1 : 0;
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(reached, kRuns / 20);
  EXPECT_LT(reached, kRuns * 19 / 20);
}

TEST(SteadyState, ANewSegmentThatFitsBetterChangesTheNextTime) {
  const EventList before = {Event::allocate(0, 100 * kMiB), Event::free(0)};
  const EventList stretch = {Event::mark(1), Event::allocate(1000, 30 * kMiB), Event::allocate(1001, 90 * kMiB),
                             Event::free(1000), Event::free(1001)};
  // 30 of 100 MiB, then 90 in a segment of their own: the next time the 30 come out of the 90.
  const Repeated run = repeated(before, stretch, 2);
  EXPECT_FALSE(reaches_a_steady_state(run));
  expect_same(replay(run.events), replay(run.events, {}, {}, run.repeat));
  EXPECT_TRUE(reaches_a_steady_state(repeated(run.events, stretch, 2)));
}

TEST(SteadyState, WhatIsReplacedIsNotTheSame) {
  const Repeated run =
      repeated({Event::allocate(0, 30 * kMiB)}, {Event::mark(1), Event::allocate(1000, 30 * kMiB), Event::free(0)}, 1);
  EXPECT_FALSE(reaches_a_steady_state(run));
}

}  // namespace
}  // namespace vramwise
