// See reserved_within.h.
#include "allocator/reserved_within.h"

#include <algorithm>
#include <vector>

#include "allocator/replay.h"
#include "allocator/size_rules.h"

namespace vramwise {

std::optional<std::int64_t> reserved_within(std::span<const AllocationEvent> events, const AllocatorOptions& options,
                                            std::int64_t most) {
  CachingAllocator allocator(options, DeviceMemory());
  Replayer replayer(allocator);
  std::int64_t peak = 0;
  for (const AllocationEvent& event : events) {
    replayer.apply(event);
    if (event.kind == EventKind::kFree) continue;
    peak = std::max(peak, allocator.stats().reserved_bytes.current);
    if (peak > most) return std::nullopt;
  }
  return peak;
}

std::int64_t least_reserved(std::span<const AllocationEvent> events) {
  std::vector<std::int64_t> bytes;
  std::int64_t alive = 0, peak = 0;
  for (const AllocationEvent& event : events) {
    if (event.kind == EventKind::kAllocate) {
      if (event.id >= bytes.size()) bytes.resize(std::max<std::size_t>(std::size_t{event.id} + 1, 2 * bytes.size()));
      bytes[event.id] = event.bytes == 0 ? 0 : rounded_to_granules(event.bytes);
      alive += bytes[event.id];
      peak = std::max(peak, alive);
    } else if (event.kind == EventKind::kFree || event.kind == EventKind::kFreeLater) {
      alive -= bytes[event.id];
    }
  }
  return peak;
}

}  // namespace vramwise
