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
  Reserved(std::span<const AllocationEvent> events, std::span<const EventCycle> cycles, const AllocatorOptions& options)
      : events_(events), cycles_(cycles), allocator_(options, DeviceMemory()), replayer_(allocator_) {}

  CachingAllocator& allocator() { return allocator_; }
  void rename(const Renaming& ids) { replayer_.rename(ids.left, ids.freed); }
  bool stays_within(std::size_t first, std::size_t last, std::int64_t most) {
    return run(first, last, [&](std::span<const AllocationEvent> events, bool is_small) {
      if (!is_small) return stays_within(events, most);
      if (!replayer_.apply_small(events)) return false;
      peak_ = std::max(peak_, allocator_.stats().reserved_bytes.current);
      return peak_ <= most;
    });
  }
  /// The same of small blocks alone, if they find room in what is reserved.
  bool small_blocks_fit(std::size_t first, std::size_t last) {
    const std::int64_t before = allocator_.stats().reserved_bytes.current;
    return run(first, last,
               [this](std::span<const AllocationEvent> events, bool) { return replayer_.apply_small(events); }) &&
           allocator_.stats().reserved_bytes.current == before;
  }
  std::int64_t peak() const { return peak_; }

 private:
  template <typename Each>
  bool run(std::size_t first, std::size_t last, const Each& each) {
    return run_with_cycles(
        allocator_, replayer_, events_, cycles_, first, last,
        [&](std::size_t begin, std::size_t end, bool is_small) {
          return each(events_.subspan(begin, end - begin), is_small);
        },
        [](std::size_t, std::size_t, std::size_t) {});
  }
  bool stays_within(std::span<const AllocationEvent> events, std::int64_t most) {
    for (const AllocationEvent& event : events) {
      if (!replayer_.apply(event)) return false;
      if (event.kind == EventKind::kFree) continue;
      peak_ = std::max(peak_, allocator_.stats().reserved_bytes.current);
      if (peak_ > most) return false;
    }
    return true;
  }

  std::span<const AllocationEvent> events_;
  std::span<const EventCycle> cycles_;
  CachingAllocator allocator_;
  Replayer replayer_;
  std::int64_t peak_ = 0;
};

/// each(first, last) for what comes after the stretch that is repeated; false as soon as it says so.
template <typename Each>
bool go_on(Reserved& reserved, const EventRepeat& repeat, std::size_t end, const Each& each) {
  if (!repeat.unwritten) return each(repeat.last, end);
  for (std::size_t i = 0; i < repeat.unwritten_times; ++i) {
    reserved.rename(*repeat.unwritten);
    if (!each(repeat.first, repeat.last)) return false;
  }
  return true;
}

}  // namespace

std::optional<std::int64_t> reserved_within(std::span<const AllocationEvent> events, const AllocatorOptions& options,
                                            std::int64_t most, const EventRepeat& repeat) {
  const auto stays_within = [&](Reserved& reserved) {
    return go_on(reserved, repeat, events.size(),
                 [&](std::size_t first, std::size_t last) { return reserved.stays_within(first, last, most); });
  };
  if (repeat.any()) {
    Reserved reserved(events, repeat.cycles, options);
    if (!reserved.stays_within(0, repeat.first, most)) return std::nullopt;
    const SteadyState state(reserved.allocator(), events.subspan(repeat.first, repeat.last - repeat.first));
    if (!reserved.stays_within(repeat.first, repeat.last, most)) return std::nullopt;
    if (!state.is_reached()) return stays_within(reserved) ? std::optional(reserved.peak()) : std::nullopt;
    const bool fits = go_on(reserved, repeat, events.size(), [&](std::size_t first, std::size_t last) {
      return reserved.small_blocks_fit(first, last);
    });
    if (fits) return reserved.peak();
  }
  Reserved reserved(events, repeat.cycles, options);
  if (!reserved.stays_within(0, repeat.last, most) || !stays_within(reserved)) return std::nullopt;
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
