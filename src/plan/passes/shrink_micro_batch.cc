// A smaller micro-batch with more accumulation: the same effective batch, so the same training, at some cost in speed.
#include <fmt/format.h>

#include "plan/passes/passes.h"

namespace vramwise {
namespace {

// The next smaller micro-batch that keeps the effective batch exactly: the largest divisor of micro x accumulation
// below `micro`.
std::int64_t next_smaller(std::int64_t micro, std::int64_t accumulation) {
  const std::int64_t sequences = micro * accumulation;
  for (std::int64_t smaller = micro - 1; smaller >= 1; --smaller) {
    if (sequences % smaller == 0) return smaller;
  }
  return 1;
}

}  // namespace

void shrink_micro_batch(Candidate& candidate, PassContext& context) {
  const Overrides& fixed = context.request.overrides;
  if (fixed.micro_batch || fixed.gradient_accumulation_steps) return;
  const Candidate before = candidate;
  StepSettings& step = candidate.step;
  while (step.micro_batch > 1 && !context.fits(candidate)) {
    const std::int64_t sequences = step.micro_batch * step.gradient_accumulation_steps;
    step.micro_batch =
        fixed.effective_batch ? step.micro_batch - 1 : next_smaller(step.micro_batch, step.gradient_accumulation_steps);
    candidate.micro_batches = share_micro_batch(step.micro_batch, context.cards);
    step.gradient_accumulation_steps = fixed.effective_batch
                                           ? accumulation_for(*fixed.effective_batch, candidate.micro_batches)
                                           : sequences / step.micro_batch;
    share_out(candidate, context.request);
  }
  if (step.micro_batch == before.step.micro_batch) return;
  context.decisions.push_back(
      {"micro_batch",
       fmt::format("{} -> {} (accumulation {} -> {})", before.step.micro_batch, step.micro_batch,
                   before.step.gradient_accumulation_steps, step.gradient_accumulation_steps),
       context.shortage_text(before)});
}

}  // namespace vramwise
