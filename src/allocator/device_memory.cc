// First fit over a short sorted list of gaps: a process has one gap more than it has holes between its segments.
#include "allocator/device_memory.h"

#include <algorithm>

#include "base/check.h"

namespace vramwise {

std::int64_t FirstFitAddresses::take(std::int64_t bytes) {
  const auto gap = std::ranges::find_if(gaps_, [&](const Gap& each) { return each.end - each.begin >= bytes; });
  VRAMWISE_CHECK(gap != gaps_.end());
  const std::int64_t address = gap->begin;
  gap->begin += bytes;
  if (gap->begin == gap->end) gaps_.erase(gap);
  return address;
}

void FirstFitAddresses::give_back(std::int64_t address, std::int64_t bytes) {
  auto after = std::ranges::lower_bound(gaps_, address, {}, &Gap::begin);
  const bool touches_after = after != gaps_.end() && after->begin == address + bytes;
  const bool touches_before = after != gaps_.begin() && std::prev(after)->end == address;
  if (touches_after && touches_before) {
    std::prev(after)->end = after->end;
    gaps_.erase(after);
  } else if (touches_after) {
    after->begin = address;
  } else if (touches_before) {
    std::prev(after)->end = address + bytes;
  } else {
    gaps_.insert(after, {.begin = address, .end = address + bytes});
  }
}

}  // namespace vramwise
