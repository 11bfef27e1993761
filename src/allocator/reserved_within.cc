// See reserved_within.h.
#include "allocator/reserved_within.h"

#include <algorithm>
#include <vector>

#include "allocator/replay.h"
#include "allocator/size_rules.h"

namespace vramwise {

namespace {

/// Of a card without end, on which reserved memory only grows.
class Reserved {
 public:
  explicit Reserved(const AllocatorOptions& options) : allocator_(options, DeviceMemory()), replayer_(allocator_) {}

  CachingAllocator& allocator() { return allocator_; }
  bool stays_within(std::span<const AllocationEvent> events, std::int64_t most) {
    for (const AllocationEvent& event : events) {
      replayer_.apply(event);
      if (event.kind == EventKind::kFree) continue;
      peak_ = std::max(peak_, allocator_.stats().reserved_bytes.current);
      if (peak_ > most) return false;
    }
    return true;
  }
  /// The same of small blocks alone, if they find room in what is reserved.
  bool small_blocks_fit(std::span<const AllocationEvent> events) {
    const std::int64_t before = allocator_.stats().reserved_bytes.current;
    return replayer_.apply_small(events) && allocator_.stats().reserved_bytes.current == before;
  }
  std::int64_t peak() const { return peak_; }

 private:
  CachingAllocator allocator_;
  Replayer replayer_;
  std::int64_t peak_ = 0;
};

}  // namespace

std::optional<std::int64_t> reserved_within(std::span<const AllocationEvent> events, const AllocatorOptions& options,
                                            std::int64_t most, const EventRepeat& repeat) {
  if (repeat.any()) {
    Reserved reserved(options);
    const auto stretch = events.subspan(repeat.first, repeat.last - repeat.first);
    if (!reserved.stays_within(events.first(repeat.first), most)) return std::nullopt;
    const SteadyState state(reserved.allocator(), stretch);
    if (!reserved.stays_within(stretch, most)) return std::nullopt;
    const auto rest = events.subspan(repeat.last);
    if (!state.is_reached()) {
      if (!reserved.stays_within(rest, most)) return std::nullopt;
      return reserved.peak();
    }
    if (reserved.small_blocks_fit(rest)) return reserved.peak();
  }
  Reserved reserved(options);
  if (!reserved.stays_within(events, most)) return std::nullopt;
  return reserved.peak();
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
