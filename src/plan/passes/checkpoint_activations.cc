// Activation checkpointing of the first K blocks, with the smallest K that fits: recomputation costs up to a third of
// the step.
#include <fmt/format.h>

#include "plan/passes/passes.h"

namespace vramwise {

void checkpoint_activations(Candidate& candidate, PassContext& context) {
  if (context.request.overrides.checkpointed_blocks || context.fits(candidate)) return;
  const Candidate before = candidate;
  const std::int64_t all = context.request.model.n_layers;
  if (candidate.step.checkpointed_blocks == all) return;

  // Memory falls as more blocks are checkpointed, so the smallest K that fits is found by bisection; none: all of them.
  std::int64_t low = candidate.step.checkpointed_blocks;
  std::int64_t high = all;
  while (high - low > 1) {
    const std::int64_t middle = low + (high - low) / 2;
    candidate.step.checkpointed_blocks = middle;
    (context.fits(candidate) ? high : low) = middle;
  }
  candidate.step.checkpointed_blocks = high;
  context.decisions.push_back({"checkpointed_blocks",
                               fmt::format("{} -> {} of {}", before.step.checkpointed_blocks, high, all),
                               context.shortage_text(before)});
}

}  // namespace vramwise
