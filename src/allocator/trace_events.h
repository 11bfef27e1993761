// A snapshot's history as allocation events: what replay() takes. So a recorded run can be replayed with other
// allocator settings, or on another card.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "allocator/event.h"
#include "allocator/snapshot.h"
#include "base/result.h"

namespace vramwise {

/// One allocation of the history; its index is its id.
struct TracedAllocation {
  std::int64_t bytes = 0;  ///< as asked for
  StackIndex stack = 0;
  bool before_history = false;  ///< it was there when the recording began
};

struct TracedEvents {
  static constexpr std::size_t kBeforeHistory = ~std::size_t{0};

  EventList events;
  std::vector<std::size_t> entries;  ///< for each event: the entry of the trace that it comes from
  std::vector<TracedAllocation> allocations;
  std::int64_t emptied_caches = 0;       ///< calls of empty_cache() that were recognised
  std::int64_t private_allocations = 0;  ///< in private pools; here they are like the others

  // Measured, not modelled, from the entries about segments and the state at the end.
  bool has_segments = false;  ///< without them (an old PyTorch) the two below say nothing
  std::int64_t peak_reserved_bytes = 0;
  std::int64_t final_reserved_bytes = 0;
};

/// The history of one device. What was allocated before it began comes first, by address: everything that is freed
/// without having been allocated, and what is still there at the end. Errors: more streams than there can be.
Result<TracedEvents> events_of_trace(const MemorySnapshot& snapshot, std::size_t device);

}  // namespace vramwise
