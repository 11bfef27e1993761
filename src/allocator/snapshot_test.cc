#include "allocator/snapshot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "allocator/snapshot_analysis.h"

namespace vramwise {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::int64_t kMiB = std::int64_t{1} << 20;

/// A step that allocates 24 and 40 MiB beside 8 MiB that were there before; 24 MiB remain.
MemorySnapshot small_snapshot() {
  MemorySnapshot snapshot;
  snapshot.frames = {{.function = "linear", .file = "/site-packages/torch/nn/functional.py", .line = 7},
                     {.function = "forward", .file = "model.py", .line = 12},
                     {.function = "malloc", .file = "??", .line = 0}};
  snapshot.stacks = {{}, {2, 0, 1}, {2}};
  snapshot.segments = {
      {.device = 0,
       .address = 0x1000,
       .size = 20 * kMiB,
       .blocks = {{.address = 0x1000,
                   .size = 8 * kMiB,
                   .requested = 8 * kMiB - 5,
                   .state = SnapshotBlock::State::kAllocated,
                   .stack = 2},
                  {.address = 0x1000 + 8 * kMiB, .size = 12 * kMiB}}},
      {.device = 0,
       .address = 0x8000000,
       .size = 24 * kMiB,
       .blocks = {{.address = 0x8000000,
                   .size = 24 * kMiB,
                   .requested = 24 * kMiB,
                   .state = SnapshotBlock::State::kAllocated,
                   .stack = 1}}},
      {.device = 0, .address = 0x10000000, .size = 40 * kMiB, .blocks = {{.address = 0x10000000, .size = 40 * kMiB}}}};
  snapshot.traces = {{
      {.action = TraceAction::kSegmentAllocate, .address = 0x8000000, .size = 24 * kMiB, .stack = 1},
      {.action = TraceAction::kAllocate, .address = 0x8000000, .size = 24 * kMiB, .time_us = 17, .stack = 1},
      {.action = TraceAction::kSegmentAllocate, .address = 0x10000000, .size = 40 * kMiB, .stack = 1},
      {.action = TraceAction::kAllocate, .address = 0x10000000, .size = 40 * kMiB, .stack = 1},
      {.action = TraceAction::kFreeRequested, .address = 0x10000000, .size = 40 * kMiB},
      {.action = TraceAction::kFreeCompleted, .address = 0x10000000, .size = 40 * kMiB},
  }};
  return snapshot;
}

TEST(Snapshot, BothFormatsReadBackTheSame) {
  MemorySnapshot snapshot = small_snapshot();
  snapshot.options_text = "expandable_segments:True";
  snapshot.options.expandable_segments = true;
  const std::string json = snapshot_as_json(snapshot);
  for (const std::string& bytes : {snapshot_as_pickle(snapshot), json}) {
    const auto read = read_snapshot(bytes, "file");
    ASSERT_TRUE(read.ok()) << read.error().what;
    EXPECT_EQ(snapshot_as_json(*read), json);
    EXPECT_TRUE(read->options.expandable_segments);
    EXPECT_TRUE(read->notes.empty());
    ASSERT_EQ(read->traces.size(), 1U);
    EXPECT_EQ(read->traces[0][1].time_us, 17);
    const SnapshotFrame* frame = telling_frame(*read, read->traces[0][1].stack);
    ASSERT_NE(frame, nullptr);
    EXPECT_EQ(frame->file, "model.py");
  }
}

TEST(Snapshot, TheAnalysisTellsPeakAndWhatIsAliveAtIt) {
  const auto analysis = analyze_snapshot(small_snapshot(), 0);
  ASSERT_TRUE(analysis.ok());
  EXPECT_EQ(analysis->state.allocated_bytes, 32 * kMiB);
  EXPECT_EQ(analysis->state.reserved_bytes, 84 * kMiB);
  EXPECT_EQ(analysis->state.largest_free_bytes, 40 * kMiB);
  EXPECT_EQ(analysis->state.releasable_bytes, 40 * kMiB);
  EXPECT_EQ(analysis->recorded.allocated.bytes, 72 * kMiB);
  EXPECT_EQ(analysis->recorded.reserved.bytes, 84 * kMiB);
  EXPECT_TRUE(analysis->traced.has_segments);
  EXPECT_EQ(analysis->traced.peak_reserved_bytes, 84 * kMiB);
  ASSERT_EQ(analysis->at_peak.size(), 2U);
  EXPECT_EQ(analysis->at_peak[0].bytes, 64 * kMiB);
  EXPECT_EQ(analysis->at_peak[0].blocks, 2);
  EXPECT_EQ(analysis->at_peak[1].bytes, 8 * kMiB - 5);
  EXPECT_EQ(analysis->at_peak[1].before_history, 1);
}

TEST(Snapshot, TriesOtherSettingsAndCards) {
  const auto analysis =
      analyze_snapshot(small_snapshot(), 0, WhatIfCard{.name = "a card", .limits = {.total_bytes = 80 * kMiB}});
  ASSERT_TRUE(analysis.ok());
  ASSERT_EQ(analysis->what_if.size(), 3U);
  EXPECT_EQ(analysis->what_if[0].name, "expandable_segments:True");
  EXPECT_EQ(analysis->what_if[0].replay.reserved.bytes, 80 * kMiB) << "in units of 20 MiB";
  EXPECT_EQ(analysis->what_if[1].name, "a card");
  EXPECT_FALSE(analysis->what_if[1].replay.fits());
  EXPECT_TRUE(analysis->what_if[2].replay.fits());
}

TEST(TracedEvents, DelayedReleasesAndEmptiedCaches) {
  MemorySnapshot snapshot;
  snapshot.traces = {{
      {.action = TraceAction::kAllocate, .address = 512, .size = 100, .stream = 77},
      {.action = TraceAction::kFreeRequested, .address = 512, .size = 100, .stream = 77},
      {.action = TraceAction::kAllocate, .address = 1024, .size = 50},
      {.action = TraceAction::kFreeCompleted, .address = 512, .size = 100, .stream = 77},
      {.action = TraceAction::kFreeRequested, .address = 1024, .size = 50},
      {.action = TraceAction::kSegmentFree, .address = 0, .size = 2 * kMiB},
      {.action = TraceAction::kSegmentFree, .address = 0, .size = 2 * kMiB},
      {.action = TraceAction::kAllocate, .address = 512, .size = 10},
      {.action = TraceAction::kSegmentFree, .address = 0, .size = 2 * kMiB},
      {.action = TraceAction::kSegmentAllocate, .address = 0, .size = 2 * kMiB},
  }};
  const auto traced = events_of_trace(snapshot, 0);
  ASSERT_TRUE(traced.ok());
  std::vector<EventKind> kinds;
  for (const auto& event : traced->events) kinds.push_back(event.kind);
  EXPECT_THAT(kinds, ElementsAre(EventKind::kAllocate, EventKind::kFreeLater, EventKind::kAllocate,
                                 EventKind::kFreeDone, EventKind::kFree, EventKind::kEmptyCache, EventKind::kAllocate));
  EXPECT_EQ(traced->events[0].stream, 1);
  EXPECT_EQ(traced->emptied_caches, 1);
}

TEST(Snapshot, WhatIsNoneIsAnError) {
  for (const std::string bytes :
       {"", "{", "[1]", "{}", "\x80\x02}.", "not a snapshot", "{\"segments\": 3}",
        "{\"segments\": [{\"address\": 1, \"total_size\": -1, \"blocks\": []}]}",
        "{\"segments\": [{\"address\": 1, \"total_size\": 512, \"blocks\": [{\"size\": 1024}]}]}",
        "{\"segments\": [], \"device_traces\": [[{\"action\": \"alloc\"}]]}"}) {
    const auto read = read_snapshot(bytes, "the file");
    ASSERT_FALSE(read.ok()) << bytes;
    EXPECT_THAT(read.error().what, HasSubstr("the file")) << bytes;
  }
}

TEST(Snapshot, DamagedFilesDoNotCrash) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (const std::string& whole : {snapshot_as_pickle(small_snapshot()), snapshot_as_json(small_snapshot())}) {
    for (int round = 0; round < 3000; ++round) {
      std::string damaged = whole;
      for (std::uint64_t i = 0; i <= random() % 4; ++i)
        damaged[random() % damaged.size()] = static_cast<char>(random());
      const auto read = read_snapshot(damaged, "file");
      if (!read.ok()) continue;
      for (const std::size_t device : devices_of(*read)) static_cast<void>(analyze_snapshot(*read, device).ok());
    }
  }
}

}  // namespace
}  // namespace vramwise
