// The counters of the caching allocator, as torch.cuda.memory_stats() names them (its pool "all").
#pragma once

#include <cstdint>

namespace vramwise {

struct AllocatorStat {
  std::int64_t current = 0;
  std::int64_t peak = 0;

  void increase(std::int64_t amount) {
    current += amount;
    if (current > peak) peak = current;
  }
  void decrease(std::int64_t amount) { current -= amount; }

  bool operator==(const AllocatorStat&) const = default;
};

struct AllocatorStats {
  // Bytes.
  AllocatorStat allocated_bytes;       ///< blocks that were asked for and not yet freed
  AllocatorStat reserved_bytes;        ///< segments: what the allocator holds of the card
  AllocatorStat active_bytes;          ///< allocated, or freed while another stream may still use them
  AllocatorStat inactive_split_bytes;  ///< free parts of segments that are also in use; without expandable segments
  AllocatorStat requested_bytes;       ///< active blocks before rounding
  // Counts.
  AllocatorStat allocation;
  AllocatorStat segment;  ///< without expandable segments
  AllocatorStat active;
  AllocatorStat inactive_split;
  AllocatorStat oversize_allocations;  ///< at least max_split_bytes
  AllocatorStat oversize_segments;
  std::int64_t num_alloc_retries = 0;  ///< cached memory was released to make room, and the driver asked again
  std::int64_t num_ooms = 0;
  std::int64_t num_sync_all_streams = 0;
  std::int64_t num_device_alloc = 0;  ///< cudaMalloc and mappings
  std::int64_t num_device_free = 0;

  bool operator==(const AllocatorStats&) const = default;
};

}  // namespace vramwise
