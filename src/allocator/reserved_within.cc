// See reserved_within.h.
#include "allocator/reserved_within.h"

#include <algorithm>
#include <vector>

#include "allocator/cycle_watch.h"
#include "allocator/replay.h"
#include "allocator/size_rules.h"

namespace vramwise {

namespace {

/// Of a card without end, on which reserved memory only grows.
class Reserved {
 public:
  Reserved(std::span<const AllocationEvent> events, const AllocatorOptions& options, std::int64_t most)
      : events_(events), most_(most), allocator_(options, DeviceMemory()), replayer_(allocator_) {}

  /// Of `cycles` and what lies between them; within a turn of `steps`, again of `cycles`.
  bool stays_within(std::span<const EventCycle> steps, std::span<const EventCycle> cycles) {
    return run(steps, 0, events_.size(), [&](std::size_t begin, std::size_t end, bool is_small_step) {
      return run(cycles, begin, end, [&](std::size_t first, std::size_t last, bool is_small) {
        return stays_within(events_.subspan(first, last - first), is_small || is_small_step);
      });
    });
  }
  std::int64_t peak() const { return peak_; }

 private:
  template <typename Each>
  bool run(std::span<const EventCycle> cycles, std::size_t first, std::size_t last, const Each& each) {
    return run_with_cycles(allocator_, replayer_, events_, cycles, first, last, each,
                           [](std::size_t, std::size_t, std::size_t) {});
  }
  bool stays_within(std::span<const AllocationEvent> events, bool is_small) {
    if (is_small) return replayer_.apply_small(events) && notes_reserved();
    return std::ranges::all_of(events, [this](const AllocationEvent& event) {
      return replayer_.apply(event) && (event.kind == EventKind::kFree || notes_reserved());
    });
  }
  bool notes_reserved() {
    peak_ = std::max(peak_, allocator_.stats().reserved_bytes.current);
    return peak_ <= most_;
  }

  std::span<const AllocationEvent> events_;
  std::int64_t most_;
  CachingAllocator allocator_;
  Replayer replayer_;
  std::int64_t peak_ = 0;
};

}  // namespace

std::optional<std::int64_t> reserved_within(std::span<const AllocationEvent> events, const AllocatorOptions& options,
                                            std::int64_t most, const EventRepeat& repeat) {
  std::vector<EventCycle> steps;
  if (repeat.any()) {
    const std::size_t written = (events.size() - repeat.last) / (repeat.last - repeat.first);
    steps.push_back({.first = repeat.first,
                     .last = repeat.last,
                     .times = repeat.unwritten ? repeat.unwritten_times : written,
                     .unwritten = repeat.unwritten});
  }
  Reserved reserved(events, options, most);
  if (!reserved.stays_within(steps, repeat.cycles)) return std::nullopt;
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
