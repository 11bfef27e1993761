// Whether a stretch of events that comes again and again needs to be replayed again. A training step that leaves
// everything as it found it finds one thing changed the next time: the segments that it had to create. SteadyState
// proves from the choices of one replay that these are taken just when they were created, and else nothing differs.
#pragma once

#include <span>
#include <vector>

#include "allocator/caching_allocator.h"
#include "allocator/event.h"
#include "allocator/event_repeat.h"

namespace vramwise {

/// Looks on while the stretch is replayed for the first time. Another one that looks on longer sees that too.
class SteadyState {
 public:
  SteadyState(CachingAllocator& allocator, std::span<const AllocationEvent> stretch);
  SteadyState(const SteadyState&) = delete;
  SteadyState& operator=(const SteadyState&) = delete;
  ~SteadyState();

  /// The stretch was replayed. True: however often it comes again, the pool of large blocks gives the same blocks and
  /// takes nothing of the card. False: that is not proven.
  bool is_reached() const;

 private:
  bool returns_large_blocks() const;
  bool would_choose_again() const;

  CachingAllocator& allocator_;
  std::span<const AllocationEvent> stretch_;
  std::int64_t large_blocks_;     ///< before the stretch
  std::int64_t allocated_bytes_;  ///< likewise
  std::vector<CachingAllocator::Choice> choices_;
  std::vector<CachingAllocator::Choice>* outer_;  ///< of who looks on longer; null: nobody
};

}  // namespace vramwise
