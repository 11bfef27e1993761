// Whether a card's share fits there: first by the bound, then by the replay, each asked once.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "cost/decoder_step.h"
#include "plan/plan.h"

namespace vramwise {

class SearchMemory {
 public:
  SearchMemory(const DecoderConfig& model, const std::vector<CardPlan>& cards);

  bool fits(const StepSettings& step, std::size_t card, const ReplicaWork& work);
  /// The exact prediction; where it is more than that `part` of what any card of this kind may use, some figure above
  /// it.
  Bytes device(const StepSettings& step, std::size_t card, const ReplicaWork& work, double part = 1);
  /// Never above it.
  Bytes at_least(const StepSettings& step, std::size_t card, const ReplicaWork& work) const;
  /// The largest micro-batch up to `most` that fits, computed in passes of one size; 0: not even one sequence. Where
  /// memory falls with a larger one, which the allocator's rounding can bring about, it is one of several such limits.
  std::int64_t largest(const StepSettings& step, std::size_t card, std::int64_t most);

  /// Whether the same fits on both, computed in the same time.
  bool alike(std::size_t a, std::size_t b) const;

  const std::vector<CardPlan>& cards() const { return cards_; }
  int replays() const { return replays_; }

 private:
  using Key = std::array<std::int64_t, 8>;
  struct Known {
    Bytes device;
    Bytes enough;  ///< `device` is exact up to here
  };

  Target target_of(std::size_t card, const ReplicaWork& work) const;

  const DecoderConfig& model_;
  const std::vector<CardPlan>& cards_;
  std::vector<std::size_t> like_;   ///< the first card whose estimate is the same
  std::vector<Bytes> most_usable_;  ///< by the first card of a kind: of all of them
  std::map<Key, Known> known_;
  int replays_ = 0;
};

}  // namespace vramwise
