// A list of allocation events run through the model of the caching allocator: the peaks, where they are, and whether a
// card holds it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "allocator/caching_allocator.h"
#include "allocator/event.h"
#include "allocator/steady_state.h"

namespace vramwise {

/// The most of something, and the index of the event after which it was first reached.
struct ReplayPeak {
  std::int64_t bytes = 0;
  std::size_t event = 0;
};

struct ReplayPhase {
  std::uint32_t number = 0;          ///< of its mark; what comes before the first mark belongs to no phase
  std::size_t first_event = 0;       ///< the one after the mark
  std::int64_t allocated_bytes = 0;  ///< the most during the phase, from what it found on
  std::int64_t reserved_bytes = 0;
};

struct ReplayOutOfMemory {
  std::size_t event = 0;  ///< the one that failed; nothing was replayed after it
  std::int64_t requested_bytes = 0;
  std::int64_t missing_bytes = 0;  ///< the card is at least this much too small
};

struct Replay {
  AllocatorStats stats;  ///< at the end, or when memory ran out; where a repeat was left out, before it
  ReplayPeak allocated;
  ReplayPeak reserved;
  std::int64_t allocated_at_reserved_peak = 0;  ///< bytes; what is reserved beyond it was cached or fragmented
  std::vector<ReplayPhase> phases;
  std::optional<ReplayOutOfMemory> out_of_memory;  ///< none: everything fitted

  bool fits() const { return !out_of_memory.has_value(); }
};

/// Every id must be allocated before it is freed, and freed before it is used again (anything else is a bug of the
/// caller's). What is still allocated at the end stays so. Of a `repeat` that begins with a mark, only small blocks are
/// replayed where that is proven to be enough (steady_state.h), and of its cycles that begin with one, the turns until
/// the allocator comes back to a state (cycle_watch.h). All of both must be in the list.
Replay replay(std::span<const AllocationEvent> events, const AllocatorOptions& options = {},
              const DeviceMemoryLimits& limits = {}, const EventRepeat& repeat = {});

/// The ids that are allocated after event `last` (the event of a peak), in the order of their allocation.
std::vector<AllocationId> alive_after(std::span<const AllocationEvent> events, std::size_t last);

/// Hands events to an allocator one by one, for those who look at its state in between.
class Replayer {
 public:
  explicit Replayer(CachingAllocator& allocator) : allocator_(allocator) {}

  /// False: out of memory.
  bool apply(const AllocationEvent& event);
  /// Hands over those events only that concern small blocks. False: out of memory.
  bool apply_small(std::span<const AllocationEvent> events);
  /// Where a live id lies; negative where it was not handed over or has 0 bytes.
  std::int64_t address_of(AllocationId id) const;
  /// Each of `from`, which are live, bears the id of `to` in its place from now on. What was not handed over does not.
  void rename(std::span<const AllocationId> from, std::span<const AllocationId> to);
  /// The block of a live id; kNoBlock for one of 0 bytes.
  BlockIndex block_of(AllocationId id) const { return blocks_[id]; }

 private:
  bool allocate(const AllocationEvent& event);
  void free(AllocationId id);
  bool apply_rare(const AllocationEvent& event);
  void free_later(AllocationId id);
  BlockIndex& live(AllocationId id);

  CachingAllocator& allocator_;
  std::vector<BlockIndex> blocks_;
  std::vector<std::uint32_t> held_;  ///< by id: the number that free_later returned
};

}  // namespace vramwise
