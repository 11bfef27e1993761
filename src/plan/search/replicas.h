// How a configuration's sequences are shared out over the cards, and in how many passes each computes its share.
//
// One card: every number of passes is an option. Several: each computes a share in proportion to its speed, in the
// fewest passes that its own memory allows, so a card that is short of memory computes as much as its speed says in
// more and smaller passes; no card waits for long.
#pragma once

#include <limits>
#include <optional>
#include <vector>

#include "plan/search/memory.h"
#include "plan/search/space.h"

namespace vramwise {

/// A configuration with everything decided, and the step's predicted seconds.
struct Choice {
  StepSettings step;
  std::vector<ReplicaWork> work;
  double seconds = 0;
  std::vector<CardKnobs> knobs = {};  ///< per card; empty: those of `step` for all

  StepSettings step_of(std::size_t card) const { return knobs.empty() ? step : with_knobs(step, knobs[card]); }
};

/// What comes after the passes, by the model's size and the cards.
double update_of(const DecoderConfig& model, const StepSettings& step, const std::vector<CardPlan>& cards);

class ReplicaSearch {
 public:
  ReplicaSearch(const DecoderConfig& model, const SearchSpace& space, SearchMemory& memory);

  /// The fastest choice for a configuration that fits; absent: none does.
  std::optional<Choice> fastest_that_fits(const StepSettings& step);
  /// The fastest with micro-batches up to `most`, whatever it takes: no choice of fastest_that_fits() is faster.
  std::optional<Choice> fastest(const StepSettings& step, std::int64_t most = std::numeric_limits<std::int64_t>::max());

 private:
  std::optional<Choice> shared_out(const StepSettings& step, std::vector<std::int64_t> caps, bool must_fit);
  std::optional<Choice> on_one_card(const StepSettings& step, std::int64_t most, bool must_fit);
  bool fits(const Choice& choice);
  /// Two cards and so few sequences that every split is tried, each micro-batch by its own replay.
  bool splits_are_few() const;

  const DecoderConfig& model_;
  const SearchSpace& space_;
  SearchMemory& memory_;
};

}  // namespace vramwise
