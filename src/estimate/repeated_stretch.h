// A training step that leaves everything as it found it is followed by the same step again, and so is a pass of
// gradient accumulation that adds to gradients which are there. So it need not run again: its events are repeated,
// under ids that are free then.
#pragma once

#include <cstddef>
#include <vector>

#include "allocator/steady_state.h"
#include "tape/tape.h"

namespace vramwise {

class RepeatedStretch {
 public:
  /// It begins. `replaced`: the allocations that each repeat puts others of the same size in the place of.
  RepeatedStretch(const tape::Tape& tape, std::vector<AllocationId> replaced);

  /// It is over, and this is what now stands in their place. True: no other allocation came to stay and none from
  /// before was released, so the next one finds what this one found.
  bool ends(const tape::Tape& tape, std::vector<AllocationId> replacing);
  /// The same once more.
  void repeat(tape::Tape& tape);
  /// Likewise, after others: these are the allocations that it replaces.
  void repeat(tape::Tape& tape, std::vector<AllocationId> replaced);
  /// The same once more, of which no event is written. What stands in their place stays what it is.
  void repeat_unwritten(tape::Tape& tape);
  int repeats() const { return static_cast<int>(repeats_.size()) + unwritten_; }
  /// What stands in the place of `replaced` now.
  const std::vector<AllocationId>& in_place() const { return in_place_; }
  /// The events, if they were repeated: all times in writing, or none.
  EventRepeat events() const;

  std::size_t begin() const { return begin_; }
  std::size_t length() const { return end_ - begin_; }

  /// Adds the repeats' places to places in the events of the real one, which are in order and stay so.
  void add_repeated(std::vector<std::size_t>& places) const;
  /// `events`: all of the tape's.
  void add_repeated(std::vector<EventCycle>& cycles, const EventList& events) const;

 private:
  std::size_t begin_;
  std::size_t end_ = 0;
  tape::Work work_;                      ///< before it, then of it
  std::int64_t host_bytes_;              ///< before it
  tape::PinnedMemory pinned_memory_;     ///< likewise
  std::vector<AllocationId> replaced_;   ///< as the recorded events name them
  std::vector<AllocationId> replacing_;  ///< likewise
  std::vector<AllocationId> in_place_;   ///< what stands there now
  std::vector<AllocationId> staying_;    ///< from before it, of which the recorded events tell that streams use them
  std::vector<AllocationId> names_;      ///< by id in the recorded events: the id in the repeat that is being written
  std::vector<std::size_t> repeats_;     ///< where each that is written begins
  int unwritten_ = 0;
};

}  // namespace vramwise
