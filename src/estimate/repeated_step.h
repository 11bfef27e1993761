// A training step that leaves everything as it found it is followed by the same step again. So it need not run again:
// its events are repeated, under ids of their own.
#pragma once

#include <cstddef>
#include <vector>

#include "allocator/steady_state.h"
#include "tape/tape.h"

namespace vramwise {

class RepeatedStep {
 public:
  /// A step begins. `replaced`: the allocations that each step puts others of the same size in the place of.
  RepeatedStep(const tape::Tape& tape, std::vector<AllocationId> replaced);

  /// The step is over, and this is what now stands in their place. True: no other allocation came to stay and none from
  /// before was released, so the next step finds what this one found.
  bool ends(const tape::Tape& tape, std::vector<AllocationId> replacing);
  /// The same step once more.
  void repeat(tape::Tape& tape);
  int repeats() const { return repeats_; }
  /// The step's events, if they were repeated.
  EventRepeat events() const { return repeats_ > 0 ? EventRepeat{.first = begin_, .last = end_} : EventRepeat{}; }

  /// Adds the places of the repeated steps to places in the events of the real one.
  void add_repeated(std::vector<std::size_t>& places) const;

 private:
  std::size_t length() const { return end_ - begin_; }

  std::size_t begin_;
  std::size_t end_ = 0;
  tape::Work work_;                      ///< before the step, then of it
  std::int64_t host_bytes_;              ///< before the step
  tape::PinnedMemory pinned_memory_;     ///< likewise
  std::vector<AllocationId> replaced_;   ///< as the recorded events name them
  std::vector<AllocationId> replacing_;  ///< likewise
  std::vector<AllocationId> in_place_;   ///< what stands there now
  std::vector<AllocationId> names_;      ///< by id in the recorded events: the id in the step that is being written
  int repeats_ = 0;
};

}  // namespace vramwise
