// The configurations that a search may choose from: every value of every knob that is neither fixed nor forbidden.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cost/decoder_step.h"
#include "plan/candidate.h"
#include "plan/plan.h"

namespace vramwise {

struct SearchSpace {
  std::int64_t sequences = 1;  ///< of an optimizer step, over all cards: never searched over
  /// All knobs but the micro-batches; micro_batch and accumulation in them mean nothing.
  std::vector<StepSettings> configurations;
  std::vector<StepSettings> shared;  ///< of those, what all cards share: precision and where the optimizer is
  std::vector<std::int64_t> blocks;  ///< what a card may recompute, ascending
  std::vector<std::int64_t> chunks;  ///< of the loss, in tokens
  /// Where the user fixed the micro-batch: what that makes of each card's share.
  std::optional<std::vector<ReplicaWork>> fixed_work;
  std::optional<std::int64_t> fixed_passes;  ///< --gradient_accumulation_steps
};

/// `start`: the configuration whose batch, length and precision are kept.
SearchSpace make_space(const PlanRequest& request, const std::vector<CardPlan>& cards, const Candidate& start);

/// How many passes micro-batches of 1, 2, … `sequences` make of so many sequences: each number once, ascending.
std::vector<std::int64_t> pass_counts(std::int64_t sequences);

/// The largest of the passes' micro-batches.
inline std::int64_t micro_batch_of(const ReplicaWork& work) {
  return work.sequences == 0 ? 1 : (work.sequences + work.passes - 1) / work.passes;
}

}  // namespace vramwise
