#include "allocator/cycle_watch.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <utility>

#include "allocator/replay.h"
#include "allocator/reserved_within.h"
#include "allocator/test_support.h"

namespace vramwise {
namespace {

using Event = AllocationEvent;
constexpr std::int64_t kMiB = std::int64_t{1} << 20;
constexpr AllocationId kIds = 1000;

/// A step whose passes replace a few allocations, among others that come and go.
struct Passes {
  EventList events;
  EventRepeat repeat;
};

/// The same run twice: with all of its passes in the list, and with the first one of each step.
struct Drawn {
  Passes whole, unwritten;
};

class Draw {
 public:
  explicit Draw(unsigned seed) : random_(seed) {}
  int number(int low, int high) { return std::uniform_int_distribution(low, high)(random_); }

  Drawn draw() {
    for (std::int64_t& size : sizes_) size = std::int64_t{number(0, 3000)} << number(0, 14);
    streams_ = number(1, 3);
    Passes run{.events = {Event::mark(0)}, .repeat = {}};
    std::vector<AllocationId> weights;
    allocate(run.events, weights, 0, number(1, 30));
    const EventList pass = a_pass();
    const int replaced = static_cast<int>(std::ranges::count_if(pass, [](const Event& e) { return is_old(e); }));
    for (int i = 0; i < replaced; ++i)
      run.events.push_back(Event::allocate(kOld + static_cast<AllocationId>(i), sizes_[0]));
    const int steps = number(1, 3);
    AllocationId first = kIds;
    std::vector<AllocationId> old(static_cast<std::size_t>(replaced));
    std::iota(old.begin(), old.end(), kOld);
    const std::size_t times = static_cast<std::size_t>(number(0, 12));
    Passes unwritten = run;
    std::vector<AllocationId> unwritten_old = old;
    // All steps but the first find what they leave.
    const int last = steps > 2 ? steps - 1 : steps;
    const bool leaves_out_last = number(0, 1) == 0;
    for (int step = 0; step < steps; ++step) {
      if (step == last) mark_repeat(run), mark_repeat(unwritten);
      if (step == last && leaves_out_last) {
        unwritten.repeat.unwritten = unwritten.repeat.cycles.back().unwritten;
        unwritten.repeat.unwritten_times = 1;
      } else {
        add_unwritten_step(unwritten, pass, first, times, unwritten_old);
      }
      add_step(run, pass, first, times, old);
      first += kIds * static_cast<AllocationId>(times + 1);
    }
    return {.whole = std::move(run), .unwritten = std::move(unwritten)};
  }

 private:
  static constexpr AllocationId kOld = 500, kNew = 600;
  static bool is_old(const Event& event) {
    return event.kind == EventKind::kFree && event.id >= kOld && event.id < kNew;
  }

  // Ids from kOld on: what the pass before left; from kNew on: what stays for the next one.
  EventList a_pass() {
    EventList pass;
    std::vector<AllocationId> alive;
    const int replaced = number(0, 3);
    const bool comes_before_it_goes = number(0, 3) > 0;
    pass.push_back(Event::mark(1));
    for (int i = 0; i < replaced; ++i) {
      const auto place = static_cast<AllocationId>(i);
      const Event events[] = {Event::free(kOld + place), Event::allocate(kNew + place, sizes_[0])};
      pass.push_back(events[comes_before_it_goes ? 1 : 0]);
      pass.push_back(events[comes_before_it_goes ? 0 : 1]);
    }
    for (AllocationId phase = 0; phase < 2; ++phase) {
      pass.push_back(Event::mark(2 + phase));
      allocate(pass, alive, 100 * phase, number(1, 40));
    }
    while (!alive.empty()) free_one(pass, alive);
    return pass;
  }
  static void add(EventList& events, const EventList& pass, AllocationId first, std::vector<AllocationId>& old) {
    const std::vector<AllocationId> before = old;
    for (Event event : pass) {
      if (is_old(event)) {
        event.id = before[event.id - kOld];
      } else if (event.kind != EventKind::kMark) {
        if (event.id >= kNew) old[event.id - kNew] = first + event.id;
        event.id += first;
      }
      events.push_back(event);
    }
  }
  static void add_step(Passes& run, const EventList& pass, AllocationId first, std::size_t times,
                       std::vector<AllocationId>& old) {
    run.events.push_back(Event::mark(9));
    EventCycle cycle{.first = run.events.size(), .last = run.events.size() + pass.size(), .times = times};
    for (std::size_t turn = 0; turn <= times; ++turn, first += kIds) add(run.events, pass, first, old);
    run.repeat.cycles.push_back(cycle);
    run.events.push_back(Event::mark(8));
  }
  /// What the first pass leaves stands for what it found when the next one begins, and of the step likewise.
  static void add_unwritten_step(Passes& run, const EventList& pass, AllocationId first, std::size_t times,
                                 std::vector<AllocationId>& old) {
    const std::vector<AllocationId> found = old;
    add_step(run, pass, first, 0, old);
    run.repeat.cycles.back().times = times;
    run.repeat.cycles.back().unwritten = Renaming{.left = old, .freed = found};
  }
  /// The step that was added last comes again from here to the end.
  static void mark_repeat(Passes& run) {
    const EventCycle& cycle = run.repeat.cycles.back();
    run.repeat.first = cycle.first - 1;  // its mark
    run.repeat.last = run.events.size();
  }
  void allocate(EventList& events, std::vector<AllocationId>& alive, AllocationId first, int count) {
    for (AllocationId id = first; id < first + static_cast<AllocationId>(count); ++id) {
      events.push_back(Event::allocate(id, sizes_[number(0, 5)], static_cast<StreamIndex>(number(0, streams_ - 1))));
      alive.push_back(id);
      while (number(0, 99) < 45 && !alive.empty()) free_one(events, alive);
    }
  }
  void free_one(EventList& events, std::vector<AllocationId>& alive) {
    const auto place = alive.begin() + number(0, static_cast<int>(alive.size()) - 1);
    events.push_back(Event::free(*place));
    alive.erase(place);
  }

  std::mt19937 random_;
  std::int64_t sizes_[6] = {};
  int streams_ = 1;
};

void expect_same_with_retries(const Replay& a, const Replay& b) {
  expect_same(a, b);
  EXPECT_EQ(a.stats.num_alloc_retries, b.stats.num_alloc_retries);
}

/// How many turns of the first cycle are left out.
std::size_t left_out(const Passes& run, const AllocatorOptions& options) {
  CachingAllocator allocator(options, DeviceMemory());
  Replayer replayer(allocator);
  const EventCycle& cycle = run.repeat.cycles.front();
  std::size_t turns = 0;
  run_with_cycles(
      allocator, replayer, run.events, std::span(&cycle, 1), 0, cycle.end(),
      [&](std::size_t begin, std::size_t end, bool) {
        turns += begin >= cycle.first && end > begin ? 1 : 0;
        return std::ranges::all_of(std::span(run.events).subspan(begin, end - begin),
                                   [&](const Event& event) { return replayer.apply(event); });
      },
      [](std::size_t, std::size_t, std::size_t) {});
  return cycle.times + 1 - turns;
}

TEST(CycleWatch, AShortenedReplayIsTheWholeOne) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  Draw draw(seed);
  std::size_t skipped = 0;
  constexpr int kRuns = 300;
  for (int i = 0; i < kRuns; ++i) {
    const auto [run, unwritten] = draw.draw();
    AllocatorOptions options{.expandable_segments = i % 2 == 0};
    if (draw.number(0, 3) == 0) options.max_split_bytes = std::int64_t{draw.number(21, 64)} * kMiB;
    // Of a card without end, so little that a replay has to release blocks, or does not end.
    if (draw.number(0, 3) == 0) options.memory_fraction = 1e-6 * draw.number(1, 40);
    const Replay whole = replay(run.events, options);
    expect_same_with_retries(whole, replay(run.events, options, {}, run.repeat));
    for (const std::int64_t most : {whole.reserved.bytes, whole.reserved.bytes - 1, whole.allocated.bytes})
      for (const Passes& each : {run, unwritten})
        EXPECT_EQ(reserved_within(run.events, options, most), reserved_within(each.events, options, most, each.repeat));
    const DeviceMemoryLimits card{.total_bytes = std::max(2 * kMiB, whole.reserved.bytes - draw.number(0, 8) * kMiB)};
    expect_same_with_retries(replay(run.events, options, card), replay(run.events, options, card, run.repeat));
    skipped += left_out(run, options);
    EXPECT_GE(left_out(unwritten, options), left_out(run, options));
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(skipped, 2U * kRuns);
}

// The new batch comes before the old one goes: the two places take turns.
TEST(CycleWatch, WhatIsReplacedLiesAtTwoPlacesInTurn) {
  Passes run{.events = {Event::allocate(0, 3 * kMiB)}, .repeat = {}};
  for (AllocationId id = 1; id <= 8; ++id) {
    run.events.push_back(Event::mark(1));
    run.events.push_back(Event::allocate(id, 3 * kMiB));
    run.events.push_back(Event::free(id - 1));
  }
  run.repeat.cycles = {{.first = 1, .last = 4, .times = 7}};
  // Three turns tell that the third is like the first; of the five that are left four are two times both.
  EXPECT_EQ(left_out(run, {}), 4U);
  expect_same_with_retries(replay(run.events), replay(run.events, {}, {}, run.repeat));
}

}  // namespace
}  // namespace vramwise
