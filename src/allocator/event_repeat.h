// What comes again in a list of events: steps of a training run, and passes within a step.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "allocator/event.h"

namespace vramwise {

/// A turn's events come once more as they stand, if before that each id that it left stands for what the turn's begin
/// knows by the id at the same place of `freed`. No id stands in `left` twice, nor in `freed`.
struct Renaming {
  std::vector<AllocationId> left, freed;
};

/// Events [first, last), and after them the same `times` times more, under other ids, which may be such as have become
/// free. What a turn allocates and leaves is freed by the next one, or by whoever comes after the last.
struct EventCycle {
  std::size_t first = 0;
  std::size_t last = 0;
  std::size_t times = 0;
  std::optional<Renaming> unwritten = {};  ///< with it those turns are not in the list

  std::size_t length() const { return last - first; }
  std::size_t begin_of(std::size_t turn) const { return unwritten ? first : first + turn * length(); }
  std::size_t end() const { return unwritten ? last : begin_of(times + 1); }
};

/// The events from `last` to the end are those of [first, last) once or more, under ids of their own; what is freed
/// there has the size of what was freed the first time.
struct EventRepeat {
  std::size_t first = 0;
  std::size_t last = 0;
  std::vector<EventCycle> cycles = {};     ///< anywhere in the list, in order
  std::optional<Renaming> unwritten = {};  ///< with it nothing comes from `last` on: those are not in the list
  std::size_t unwritten_times = 0;

  bool any() const { return last > first; }
};

}  // namespace vramwise
