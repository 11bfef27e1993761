// What comes again in a list of events: steps of a training run, and passes within a step.
#pragma once

#include <cstddef>
#include <vector>

namespace vramwise {

/// Events [first, last), and after them the same `times` times more, under other ids, which may be such as have become
/// free. What a turn allocates and leaves is freed by the next one, or by whoever comes after the last.
struct EventCycle {
  std::size_t first = 0;
  std::size_t last = 0;
  std::size_t times = 0;

  std::size_t length() const { return last - first; }
  std::size_t begin_of(std::size_t turn) const { return first + turn * length(); }
  std::size_t end() const { return begin_of(times + 1); }
};

/// The events from `last` to the end are those of [first, last) once or more, under ids of their own; what is freed
/// there has the size of what was freed the first time.
struct EventRepeat {
  std::size_t first = 0;
  std::size_t last = 0;
  std::vector<EventCycle> cycles = {};  ///< anywhere in the list, in order

  bool any() const { return last > first; }
};

}  // namespace vramwise
