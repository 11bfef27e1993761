// A set of byte positions, kept as sorted intervals that neither touch nor overlap. Of one storage there are seldom
// more than one or two.
#pragma once

#include <cstdint>
#include <vector>

namespace vramwise::values {

/// The positions from `begin` up to but without `end`.
struct Interval {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  friend bool operator==(const Interval& a, const Interval& b) { return a.begin == b.begin && a.end == b.end; }
};

class IntervalSet {
 public:
  void add(Interval interval);
  void remove(Interval interval);
  void clear() { intervals_.clear(); }

  /// Whether every position of `interval` is in the set; an empty interval is.
  bool contains(Interval interval) const;
  /// Whether any position of `interval` is in the set.
  bool touches(Interval interval) const;
  bool empty() const { return intervals_.empty(); }
  const std::vector<Interval>& intervals() const { return intervals_; }

 private:
  std::vector<Interval> intervals_;
};

}  // namespace vramwise::values
