// Whether a micro-batch fits on a card: first by the bound, then by the replay, each asked once.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "plan/plan.h"

namespace vramwise {

class SearchMemory {
 public:
  SearchMemory(const DecoderConfig& model, const std::vector<CardPlan>& cards);

  bool fits(const StepSettings& step, std::size_t card, std::int64_t micro_batch);
  /// The exact prediction.
  Bytes device(const StepSettings& step, std::size_t card, std::int64_t micro_batch);
  /// Never above it.
  Bytes at_least(const StepSettings& step, std::size_t card, std::int64_t micro_batch) const;
  /// The largest micro-batch up to `most` that fits; 0: not even one sequence. Where memory falls with a larger one,
  /// which the allocator's rounding can bring about, it is one of several such limits.
  std::int64_t largest(const StepSettings& step, std::size_t card, std::int64_t most);

  const std::vector<CardPlan>& cards() const { return cards_; }
  int replays() const { return replays_; }

 private:
  using Key = std::array<std::int64_t, 7>;

  Target target_of(std::size_t card) const;

  const DecoderConfig& model_;
  const std::vector<CardPlan>& cards_;
  std::vector<std::size_t> like_;  ///< the first card whose estimate is the same
  std::map<Key, Bytes> known_;
  int replays_ = 0;
};

}  // namespace vramwise
