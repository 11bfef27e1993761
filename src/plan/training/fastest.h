// The fastest candidate that a card holds, of all that a space has. One object answers for several amounts of memory,
// and what it learns of one serves the next.
//
// Lines are asked in the order in which they are expected to be fast. One that fits bounds all others: of each, only
// the largest number of recomputed layers with which it would still be faster has to be replayed, and if it does not
// fit the whole line is done.
#pragma once

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <queue>
#include <tuple>
#include <utility>

#include "plan/training/judge.h"

namespace vramwise {

class FastestSearch {
 public:
  FastestSearch(const TrainingSpace& space, TrainingJudge& judge) : space_(space), judge_(judge) {}

  /// The fastest with no more memory than that. Errors: kDoesNotFit without text where there is none.
  Result<TrainingChoice> fastest(Bytes usable);

 private:
  /// A micro-batch of an option, with any number of recomputed layers: more of them never take less time, nor, as long
  /// as one is not recomputed, more memory. (Of all layers the last is recomputed too, and the allocator may lose
  /// more.)
  struct Line {
    TrainingCandidate candidate;
    std::size_t size = 0;  ///< index of its micro-batch
    double seconds = 0;    ///< at least
    double hoped = 0;      ///< of the fewest layers that are expected to fit
    bool is_seen = false;  ///< its own times and bounds are known
    std::size_t from = 0;  ///< fewer do not fit (as an index into the space's numbers)
    std::size_t next = 0;  ///< what is to be tried, as long as nothing fits

    bool is_asked_later = false;  ///< than others of the same seconds

    // In the order in which ties are broken.
    std::tuple<double, std::size_t, std::size_t, std::size_t> rank() const {
      return {seconds, candidate.option, size, from};
    }
    // In which they are asked. std::priority_queue has the largest on top.
    bool operator<(const Line& other) const {
      return std::tuple(hoped, is_asked_later, rank()) > std::tuple(other.hoped, other.is_asked_later, other.rank());
    }
  };

  /// The best so far.
  struct Found {
    Line line;  ///< its `from` is what fits
    Bytes device{};
  };

  /// A bound from what is known of larger micro-batches. Of passes of m sequences as many as m goes into n replace one
  /// of n, and none of its kernels: each is run as often, on a part of the rows. A kernel on all rows takes no more
  /// than those on its parts together, since neither its bytes nor the tiles that its result is cut into are more, and
  /// the gaps between kernels come once. Where m does not divide n, tiles may be cut more luckily, and nothing is said.
  double least_seconds(const Line& line);

  /// Puts the line back with what its bounds let it have.
  void look_at(Line line);

  Line at_index(Line line, std::size_t index);
  void push_from(const Line& line, std::size_t from);

  /// Replays one number of layers. What is not faster than the best so far is not of interest.
  Status try_one(Line line);

  /// What a replay took beyond its bound. It hangs little on the number of layers, as long as not all are recomputed.
  void learn_excess(const Line& line, double excess, bool is_exact);
  double expected_excess(const Line& line) const;

  /// The fewest layers from `next` on that fit if the allocator loses as much as it last did.
  std::optional<std::size_t> hopeful(const Line& line);
  double hoped_seconds(const Line& line);
  /// All layers are tried only where nothing else is left.
  std::size_t last_but_all(std::size_t from) const { return std::max(from, last() > 0 ? last() - 1 : 0); }

  /// So many layers more save that much; at least one.
  std::size_t steps_for(const Line& line, std::size_t index, Bytes missing);

  /// The best is of this line: as many fewer as the room that it leaves lets hope for.
  std::size_t below_best(const Line& line);

  /// The most layers with which the line still comes before `other`; it does with `from`.
  std::size_t last_before(const Line& line, const Line& other);

  bool has_expandable_segments(const Line& line) const {
    return space_.options[line.candidate.option].allocator.expandable_segments;
  }

  /// Where no layer is recomputed, it does not matter of what.
  std::size_t first(const TrainingCandidate& candidate) const;
  std::size_t last() const { return space_.recomputed.size() - 1; }

  TrainingCandidate at(TrainingCandidate candidate, std::size_t index) const {
    candidate.recomputed = space_.recomputed[index];
    return candidate;
  }

  /// The least index in [from, last] of which `fits` is true, where it is false for all before: by bisection. All
  /// layers are asked for by themselves.
  template <typename Fits>
  std::optional<std::size_t> first_index(std::size_t from, const Fits& fits) const {
    std::size_t low = from, high = last();
    while (low < high) {
      const std::size_t middle = low + (high - low) / 2;
      if (fits(middle)) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low < last() || fits(low) ? std::optional(low) : std::nullopt;
  }

  const TrainingSpace& space_;
  TrainingJudge& judge_;
  std::map<std::pair<std::size_t, std::size_t>, double> seen_;  ///< seconds by option and size, of the fewest layers
  Bytes usable_;
  std::priority_queue<Line> lines_;
  std::optional<Found> best_;
  std::map<std::pair<std::size_t, std::size_t>, double> excess_;  ///< bytes by option and size
  std::optional<double> last_excess_[2];  ///< of the last replay; with expandable segments the second
};

}  // namespace vramwise
