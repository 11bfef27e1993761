// The loop over the events. Peaks are found by comparing the counters after each one that can raise them: two
// comparisons are less than a mark on every change.
#include "allocator/replay.h"

#include <algorithm>
#include <utility>

#include "allocator/cycle_watch.h"
#include "base/check.h"

namespace vramwise {
namespace {

/// In the table of blocks: an id that is not allocated, as against one of 0 bytes (kNoBlock).
constexpr BlockIndex kNotAllocated = kNoBlock - 1;

/// The peaks of the whole and of the phase that runs.
class PeakKeeper {
 public:
  PeakKeeper(const AllocatorStats& stats, Replay& result) : stats_(stats), result_(result) {}

  void after(std::size_t event) {
    const std::int64_t allocated = stats_.allocated_bytes.current;
    if (allocated > phase_.allocated_bytes) {
      phase_.allocated_bytes = allocated;
      if (allocated > result_.allocated.bytes) result_.allocated = {.bytes = allocated, .event = event};
    }
    if (const std::int64_t reserved = stats_.reserved_bytes.current; reserved > phase_.reserved_bytes) {
      phase_.reserved_bytes = reserved;
      if (reserved > result_.reserved.bytes) {
        result_.reserved = {.bytes = reserved, .event = event};
        result_.allocated_at_reserved_peak = allocated;
      }
    }
  }
  void begin_phase(std::uint32_t number, std::size_t event) {
    end_phase();
    phase_ = {.number = number,
              .first_event = event + 1,
              .allocated_bytes = stats_.allocated_bytes.current,
              .reserved_bytes = stats_.reserved_bytes.current};
    has_phase_ = true;
  }
  /// How many have begun.
  std::size_t phases() const { return result_.phases.size() + (has_phase_ ? 1 : 0); }
  void end_phase() {
    if (has_phase_) result_.phases.push_back(phase_);
  }
  /// Events [begin, end) come to the same as the `period` of them before, which began with a mark, did once or more.
  void repeat(std::size_t begin, std::size_t end, std::size_t period) {
    end_phase();
    std::vector<ReplayPhase>& phases = result_.phases;
    const auto first = static_cast<std::size_t>(
        std::ranges::upper_bound(phases, begin - period, {}, &ReplayPhase::first_event) - phases.begin());
    const std::size_t last = phases.size();
    for (std::size_t shift = period; begin - period + shift < end; shift += period)
      for (std::size_t i = first; i < last; ++i) {
        ReplayPhase again = phases[i];
        again.first_event += shift;
        phases.push_back(again);
      }
    phase_ = phases.back();
    phases.pop_back();
  }

 private:
  const AllocatorStats& stats_;
  Replay& result_;
  ReplayPhase phase_;
  bool has_phase_ = false;
};

}  // namespace

inline BlockIndex& Replayer::live(AllocationId id) {
  VRAMWISE_CHECK(id < blocks_.size() && blocks_[id] != kNotAllocated);
  return blocks_[id];
}

inline bool Replayer::allocate(const AllocationEvent& event) {
  if (event.id >= blocks_.size())
    blocks_.resize(std::max<std::size_t>(std::size_t{event.id} + 1, blocks_.size() * 2), kNotAllocated);
  VRAMWISE_CHECK(blocks_[event.id] == kNotAllocated);
  const BlockIndex block = event.bytes == 0 ? kNoBlock : allocator_.allocate(event.bytes, event.stream);
  if (block == kNoBlock && event.bytes != 0) return false;
  blocks_[event.id] = block;
  return true;
}

void Replayer::free_later(AllocationId id) {
  const BlockIndex block = std::exchange(live(id), kNotAllocated);
  if (held_.size() <= id) held_.resize(std::size_t{id} + 1, 0);
  held_[id] = block == kNoBlock ? 0 : allocator_.free_later(block);
}

inline void Replayer::free(AllocationId id) {
  if (const BlockIndex block = std::exchange(live(id), kNotAllocated); block != kNoBlock) allocator_.free(block);
}

bool Replayer::apply_rare(const AllocationEvent& event) {
  switch (event.kind) {
    case EventKind::kRecordStream:
      if (live(event.id) != kNoBlock) allocator_.record_stream(live(event.id), event.stream);
      break;
    case EventKind::kFreeLater:
      free_later(event.id);
      break;
    case EventKind::kFreeDone:
      VRAMWISE_CHECK(event.id < held_.size());
      allocator_.free_done(std::exchange(held_[event.id], 0));
      break;
    case EventKind::kEmptyCache:
      allocator_.empty_cache();
      break;
    case EventKind::kOutside:
      return allocator_.take_outside(event.bytes);
    case EventKind::kAllocate:
    case EventKind::kFree:
    case EventKind::kMark:
      break;
  }
  return true;
}

bool Replayer::apply(const AllocationEvent& event) {
  if (event.kind == EventKind::kAllocate) return allocate(event);
  if (event.kind != EventKind::kFree) return apply_rare(event);
  free(event.id);
  return true;
}

std::int64_t Replayer::address_of(AllocationId id) const {
  const BlockIndex block = id < blocks_.size() ? blocks_[id] : kNotAllocated;
  if (block == kNotAllocated) return -2;
  return block == kNoBlock ? -1 : allocator_.address_of(block);
}

void Replayer::rename(std::span<const AllocationId> from, std::span<const AllocationId> to) {
  std::vector<BlockIndex> blocks;
  for (const AllocationId id : from)
    blocks.push_back(id < blocks_.size() ? std::exchange(blocks_[id], kNotAllocated) : kNotAllocated);
  for (std::size_t i = 0; i < to.size(); ++i) {
    if (to[i] >= blocks_.size()) blocks_.resize(std::size_t{to[i]} + 1, kNotAllocated);
    VRAMWISE_CHECK(blocks_[to[i]] == kNotAllocated);
    blocks_[to[i]] = blocks[i];
  }
}

bool Replayer::apply_small(std::span<const AllocationEvent> events) {
  for (const AllocationEvent& event : events) {
    if (event.kind == EventKind::kAllocate) {
      if (allocator_.is_small(event.bytes) && !allocate(event)) return false;
    } else if (event.kind == EventKind::kFree && event.id < blocks_.size() && blocks_[event.id] != kNotAllocated) {
      free(event.id);
    }
  }
  return true;
}

namespace {

class WholeReplay {
 public:
  WholeReplay(std::span<const AllocationEvent> events, const AllocatorOptions& options,
              const DeviceMemoryLimits& limits, std::span<const EventCycle> cycles)
      : events_(events), allocator_(options, DeviceMemory(limits)), replayer_(allocator_) {
    for (const EventCycle& cycle : cycles) {
      VRAMWISE_CHECK(!cycle.unwritten);
      if (events[cycle.first].kind == EventKind::kMark) cycles_.push_back(cycle);
    }
  }

  /// False: out of memory.
  bool run(std::size_t first, std::size_t last) {
    return run_with_cycles(
        allocator_, replayer_, events_, cycles_, first, last,
        [this](std::size_t begin, std::size_t end, bool) { return run_each(begin, end); },
        [this](std::size_t begin, std::size_t end, std::size_t period) { peaks_.repeat(begin, end, period); });
  }
  /// All of them, the repeat shortened where it can be; false: it could not be shortened, and what was run is void.
  bool run_to_end(const EventRepeat& repeat) {
    if (!run(0, repeat.first)) return true;
    const std::size_t phases = peaks_.phases();
    const SteadyState state(allocator_, events_.subspan(repeat.first, repeat.last - repeat.first));
    if (!run(repeat.first, repeat.last)) return true;
    if (events_[repeat.first].kind != EventKind::kMark || !state.is_reached()) {
      run(repeat.last, events_.size());
      return true;
    }
    peaks_.end_phase();
    result_.stats = allocator_.stats();
    if (!run_small(repeat.last, events_.size()) ||
        allocator_.stats().reserved_bytes.current != result_.stats.reserved_bytes.current)
      return false;
    repeat_phases(repeat, phases);
    is_shortened_ = true;
    return true;
  }
  Replay result() {
    if (!is_shortened_) {
      peaks_.end_phase();
      result_.stats = allocator_.stats();
    }
    return std::move(result_);
  }

 private:
  bool run_each(std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) {
      if (!replayer_.apply(events_[i])) {
        note_out_of_memory(i);
        return false;
      }
      if (events_[i].kind == EventKind::kMark) peaks_.begin_phase(events_[i].id, i);
      if (events_[i].kind != EventKind::kFree) peaks_.after(i);
    }
    return true;
  }
  bool run_small(std::size_t first, std::size_t last) {
    return run_with_cycles(
        allocator_, replayer_, events_, cycles_, first, last,
        [this](std::size_t begin, std::size_t end, bool) {
          return replayer_.apply_small(events_.subspan(begin, end - begin));
        },
        [](std::size_t, std::size_t, std::size_t) {});
  }
  void note_out_of_memory(std::size_t event) {
    const std::int64_t asked = events_[event].bytes;
    const bool outside = events_[event].kind == EventKind::kOutside;
    result_.out_of_memory = {
        .event = event,
        .requested_bytes = asked,
        .missing_bytes = outside ? asked - allocator_.memory().free_bytes() : allocator_.missing_bytes()};
  }
  void repeat_phases(const EventRepeat& repeat, std::size_t first) {
    const std::size_t last = result_.phases.size(), length = repeat.last - repeat.first;
    for (std::size_t shift = length; repeat.first + shift < events_.size(); shift += length) {
      for (std::size_t i = first; i < last; ++i) {
        ReplayPhase phase = result_.phases[i];
        phase.first_event += shift;
        phase.reserved_bytes = result_.reserved.bytes;
        result_.phases.push_back(phase);
      }
    }
  }

  std::span<const AllocationEvent> events_;
  std::vector<EventCycle> cycles_;
  CachingAllocator allocator_;
  Replayer replayer_;
  Replay result_;
  PeakKeeper peaks_{allocator_.stats(), result_};
  bool is_shortened_ = false;
};

}  // namespace

Replay replay(std::span<const AllocationEvent> events, const AllocatorOptions& options,
              const DeviceMemoryLimits& limits, const EventRepeat& repeat) {
  VRAMWISE_CHECK(!repeat.unwritten);
  if (repeat.any()) {
    WholeReplay shortened(events, options, limits, repeat.cycles);
    if (shortened.run_to_end(repeat)) return shortened.result();
  }
  WholeReplay whole(events, options, limits, repeat.cycles);
  whole.run(0, events.size());
  return whole.result();
}

std::vector<AllocationId> alive_after(std::span<const AllocationEvent> events, std::size_t last) {
  constexpr std::size_t kDead = ~std::size_t{0};
  std::vector<std::size_t> born;
  for (std::size_t i = 0; i <= last && i < events.size(); ++i) {
    const AllocationEvent& event = events[i];
    if (event.kind == EventKind::kAllocate) {
      if (event.id >= born.size()) born.resize(event.id + std::size_t{1}, kDead);
      born[event.id] = i;
    } else if ((event.kind == EventKind::kFree || event.kind == EventKind::kFreeLater) && event.id < born.size()) {
      born[event.id] = kDead;
    }
  }
  std::vector<AllocationId> alive;
  for (AllocationId id = 0; id < born.size(); ++id)
    if (born[id] != kDead) alive.push_back(id);
  std::ranges::sort(alive, {}, [&](AllocationId id) { return born[id]; });
  return alive;
}

}  // namespace vramwise
