// Optimizer states one tier below the device: the largest single saving, paid for with a transfer of every gradient and
// weight each step. Where the tier below has no room for them it is no way out.
#include "plan/passes/passes.h"

namespace vramwise {

void offload_optimizer(Candidate& candidate, PassContext& context) {
  if (context.request.overrides.offload_optimizer || candidate.step.offload_optimizer || context.fits(candidate))
    return;
  const std::string reason = context.shortage_text(candidate);
  candidate.step.offload_optimizer = true;
  if (!context.has_room_for_offload(candidate)) {
    candidate.step.offload_optimizer = false;
    return;
  }
  context.decisions.push_back({"offload_optimizer", "false -> true", reason});
}

}  // namespace vramwise
