// Sorted intervals in a vector: with so few of them, moving is cheaper than any tree.
#include "values/extension/intervals.h"

#include <algorithm>

namespace vramwise::values {
namespace {

/// The first interval that ends at or after `position`.
std::vector<Interval>::iterator first_reaching(std::vector<Interval>& intervals, std::int64_t position) {
  return std::lower_bound(intervals.begin(), intervals.end(), position,
                          [](const Interval& each, std::int64_t at) { return each.end < at; });
}

/// The first interval that ends after `position`.
std::vector<Interval>::const_iterator first_beyond(const std::vector<Interval>& intervals, std::int64_t position) {
  return std::upper_bound(intervals.begin(), intervals.end(), position,
                          [](std::int64_t at, const Interval& each) { return at < each.end; });
}

}  // namespace

void IntervalSet::add(Interval interval) {
  if (interval.begin >= interval.end) return;
  const auto first = first_reaching(intervals_, interval.begin);
  auto last = first;
  while (last != intervals_.end() && last->begin <= interval.end) {
    interval.begin = std::min(interval.begin, last->begin);
    interval.end = std::max(interval.end, last->end);
    ++last;
  }
  if (first == last) {
    intervals_.insert(first, interval);
  } else {
    *first = interval;
    intervals_.erase(first + 1, last);
  }
}

void IntervalSet::remove(Interval interval) {
  if (interval.begin >= interval.end || !touches(interval)) return;
  std::vector<Interval> kept;
  kept.reserve(intervals_.size() + 1);
  for (const Interval& each : intervals_) {
    if (each.begin < std::min(each.end, interval.begin)) {
      kept.push_back({each.begin, std::min(each.end, interval.begin)});
    }
    if (std::max(each.begin, interval.end) < each.end) kept.push_back({std::max(each.begin, interval.end), each.end});
  }
  intervals_ = std::move(kept);
}

bool IntervalSet::contains(Interval interval) const {
  if (interval.begin >= interval.end) return true;
  const auto found = first_beyond(intervals_, interval.begin);
  return found != intervals_.end() && found->begin <= interval.begin && interval.end <= found->end;
}

bool IntervalSet::touches(Interval interval) const {
  if (interval.begin >= interval.end) return false;
  const auto found = first_beyond(intervals_, interval.begin);
  return found != intervals_.end() && found->begin < interval.end;
}

}  // namespace vramwise::values
