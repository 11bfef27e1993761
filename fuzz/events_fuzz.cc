// Any bytes as calls to the allocator, with options from the first bytes: it must stay consistent, come back to nothing
// when all is freed, and never hold less than what is allocated.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "allocator/caching_allocator.h"

namespace vramwise {
namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

AllocatorOptions options_of(std::uint8_t bits) {
  AllocatorOptions options;
  options.expandable_segments = (bits & 1) != 0;
  if ((bits & 2) != 0) options.max_split_bytes = std::int64_t{20} << 20;
  if ((bits & 4) != 0) options.roundup_power2_divisions.fill(4);
  if ((bits & 8) != 0) options.memory_fraction = 0.7;
  if ((bits & 16) != 0) options.garbage_collection_threshold = 0.5;
  options.older_segments_first = (bits & 32) == 0;
  return options;
}

void check_segments(const CachingAllocator& allocator) {
  std::int64_t reserved = 0;
  std::int64_t allocated = 0;
  for (const SegmentState& segment : allocator.segments()) {
    bool last_was_free = false;
    std::int64_t size = 0;
    for (const auto& part : segment.parts) {
      require(part.size > 0);
      require(part.active || !last_was_free);
      last_was_free = !part.active;
      size += part.size;
      if (part.allocated) allocated += part.size;
    }
    require(size == segment.size);
    reserved += size;
  }
  require(reserved == allocator.stats().reserved_bytes.current);
  require(allocated == allocator.stats().allocated_bytes.current);
}

void try_calls(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return;
  const DeviceMemoryLimits limits{.total_bytes = std::int64_t{1} << (24 + data[1] % 8), .taken_bytes = 1 << 21};
  CachingAllocator allocator(options_of(data[0]), DeviceMemory(limits));
  std::vector<BlockIndex> live;
  std::vector<std::uint32_t> held;
  for (std::size_t i = 2; i + 3 <= size; i += 3) {
    const unsigned what = data[i] % 8;
    const auto stream = static_cast<StreamIndex>(data[i] >> 3 & 3);
    const std::int64_t bytes = 1 + (std::int64_t{data[i + 1]} << (data[i + 2] % 20));
    if (what < 3 || live.empty()) {
      if (const BlockIndex block = allocator.allocate(bytes, stream); block != kNoBlock) live.push_back(block);
      continue;
    }
    BlockIndex& chosen = live[data[i + 1] % live.size()];
    if (what == 3) {
      allocator.record_stream(chosen, stream);
      continue;
    }
    if (what == 4 && data[i + 2] % 8 == 0) {
      allocator.empty_cache();
      continue;
    }
    if (what == 5) {
      held.push_back(allocator.free_later(chosen));
    } else {
      allocator.free(chosen);
    }
    chosen = live.back();
    live.pop_back();
    if (what == 6 && !held.empty()) {
      allocator.free_done(held.back());
      held.pop_back();
    }
  }
  check_segments(allocator);
  for (const BlockIndex block : live) allocator.free(block);
  allocator.empty_cache();
  check_segments(allocator);
  require(allocator.stats().reserved_bytes.current == 0);
  require(allocator.stats().inactive_split_bytes.current == 0);
  require(allocator.memory().free_bytes() == limits.total_bytes - limits.taken_bytes);
}

}  // namespace
}  // namespace vramwise

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  vramwise::try_calls(data, size);
  return 0;
}
