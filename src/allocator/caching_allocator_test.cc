#include "allocator/caching_allocator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace vramwise {
namespace {

constexpr std::int64_t kMiB = std::int64_t{1} << 20;

TEST(CachingAllocator, SmallAndLargeSegments) {
  CachingAllocator allocator;
  allocator.allocate(1);
  EXPECT_EQ(allocator.stats().reserved_bytes.current, 2 * kMiB);
  EXPECT_EQ(allocator.stats().allocated_bytes.current, 512);
  EXPECT_EQ(allocator.stats().inactive_split_bytes.current, 2 * kMiB - 512);
  allocator.allocate(kMiB + 1);
  EXPECT_EQ(allocator.stats().reserved_bytes.current, 22 * kMiB);
  allocator.allocate(30 * kMiB + 1);
  EXPECT_EQ(allocator.stats().reserved_bytes.current, 54 * kMiB)
      << "32 MiB of its own, not split: 1 MiB or less is left";
  EXPECT_EQ(allocator.stats().segment.current, 3);
}

TEST(CachingAllocator, ReusesTheBestFit) {
  CachingAllocator allocator;
  const auto big = allocator.allocate(64 * kMiB);
  const auto fitting = allocator.allocate(40 * kMiB);
  const auto address = allocator.address_of(fitting);
  allocator.free(big);
  allocator.free(fitting);
  EXPECT_EQ(allocator.address_of(allocator.allocate(40 * kMiB)), address);
  EXPECT_EQ(allocator.stats().reserved_bytes.current, 104 * kMiB);
}

TEST(CachingAllocator, StreamsDoNotShareBlocks) {
  CachingAllocator allocator;
  allocator.free(allocator.allocate(16 * kMiB, 0));
  allocator.allocate(16 * kMiB, 1);
  EXPECT_EQ(allocator.stats().reserved_bytes.current, 32 * kMiB);
}

TEST(CachingAllocator, RecordedStreamsDelayTheRelease) {
  CachingAllocator allocator;
  const auto block = allocator.allocate(16 * kMiB);
  allocator.record_stream(block, 1);
  allocator.free(block);
  EXPECT_EQ(allocator.stats().allocated_bytes.current, 0);
  EXPECT_EQ(allocator.stats().active_bytes.current, 16 * kMiB);
  allocator.allocate(16 * kMiB);
  EXPECT_EQ(allocator.stats().reserved_bytes.current, 16 * kMiB);
  EXPECT_EQ(allocator.stats().active_bytes.current, 16 * kMiB);
}

TEST(CachingAllocator, RetriesAtTheCardsCapacity) {
  CachingAllocator allocator({}, DeviceMemory({.total_bytes = 100 * kMiB, .taken_bytes = 20 * kMiB}));
  allocator.free(allocator.allocate(50 * kMiB));
  EXPECT_NE(allocator.allocate(60 * kMiB), kNoBlock);
  EXPECT_EQ(allocator.stats().num_alloc_retries, 1);
  EXPECT_EQ(allocator.stats().num_ooms, 0);
  EXPECT_EQ(allocator.stats().reserved_bytes.current, 60 * kMiB);
  EXPECT_EQ(allocator.allocate(60 * kMiB), kNoBlock);
  EXPECT_EQ(allocator.stats().num_ooms, 1);
  EXPECT_EQ(allocator.stats().num_alloc_retries, 2);
}

TEST(CachingAllocator, ExpandableSegmentsGrowInTheirUnits) {
  CachingAllocator allocator({.expandable_segments = true}, DeviceMemory({.total_bytes = 1024 * kMiB}));
  const auto first = allocator.allocate(30 * kMiB);
  EXPECT_EQ(allocator.stats().reserved_bytes.current, 40 * kMiB);
  allocator.allocate(30 * kMiB);
  EXPECT_EQ(allocator.stats().reserved_bytes.current, 60 * kMiB);
  EXPECT_EQ(allocator.segments().size(), 1U);
  allocator.free(first);
  allocator.empty_cache();
  EXPECT_EQ(allocator.stats().reserved_bytes.current, 40 * kMiB) << "the first 20 MiB hold nothing any more";
}

/// What must hold after any sequence of calls, whatever the options.
void expect_consistent(const CachingAllocator& allocator) {
  std::int64_t reserved = 0;
  std::int64_t allocated = 0;
  std::int64_t active = 0;
  std::int64_t end = 0;
  for (const auto& segment : allocator.segments()) {
    EXPECT_GE(segment.address, end) << "segments overlap";
    std::int64_t size = 0;
    bool last_was_free = false;
    for (const auto& part : segment.parts) {
      EXPECT_FALSE(!part.active && last_was_free) << "free neighbours were not merged";
      last_was_free = !part.active;
      size += part.size;
      allocated += part.allocated ? part.size : 0;
      active += part.active ? part.size : 0;
    }
    EXPECT_EQ(size, segment.size);
    end = segment.address + size;
    reserved += size;
  }
  EXPECT_EQ(reserved, allocator.stats().reserved_bytes.current);
  EXPECT_EQ(allocated, allocator.stats().allocated_bytes.current);
  EXPECT_EQ(active, allocator.stats().active_bytes.current);
}

TEST(CachingAllocator, StaysConsistent) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (const bool expandable : {false, true}) {
    CachingAllocator allocator({.expandable_segments = expandable, .max_split_bytes = 100 * kMiB},
                               DeviceMemory({.total_bytes = 1024 * kMiB}));
    std::vector<BlockIndex> live;
    for (int round = 0; round < 3000; ++round) {
      if (live.empty() || random() % 2 == 0) {
        const auto bytes = 1 + static_cast<std::int64_t>(random() % (1ULL << (10 + random() % 18)));
        const auto block = allocator.allocate(bytes, static_cast<StreamIndex>(random() % 3));
        if (block != kNoBlock) live.push_back(block);
      } else {
        std::swap(live[random() % live.size()], live.back());
        if (random() % 4 == 0) allocator.record_stream(live.back(), static_cast<StreamIndex>(random() % 3));
        allocator.free(live.back());
        live.pop_back();
      }
      if (random() % 200 == 0) allocator.empty_cache();
      if (round % 100 == 0) expect_consistent(allocator);
    }
    for (const auto block : live) allocator.free(block);
    allocator.empty_cache();
    EXPECT_EQ(allocator.stats().reserved_bytes.current, 0);
    EXPECT_EQ(allocator.stats().inactive_split_bytes.current, 0);
    EXPECT_TRUE(allocator.segments().empty());
    EXPECT_EQ(allocator.memory().free_bytes(), 1024 * kMiB);
  }
}

}  // namespace
}  // namespace vramwise
