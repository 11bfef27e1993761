// Optimizer states one tier below the device: the largest single saving, paid for with a transfer of every gradient and
// weight each step.
#include "plan/passes/passes.h"

namespace vramwise {

void offload_optimizer(Candidate& candidate, PassContext& context) {
  if (context.request.overrides.offload_optimizer || candidate.step.offload_optimizer || context.fits(candidate))
    return;
  const std::string reason = context.shortage_text(candidate);
  candidate.step.offload_optimizer = true;
  context.decisions.push_back({"offload_optimizer", "false -> true", reason});
}

}  // namespace vramwise
