// The order is the strategy: from what only costs speed to what changes the training.
#include "plan/passes/passes.h"

#include <fmt/format.h>

#include "base/units.h"

namespace vramwise {

std::string PassContext::shortage_text(const Candidate& candidate) const {
  return fmt::format("{} short otherwise", format_size(shortage(request.model, candidate, cards)));
}

const std::vector<Pass>& guide_passes() {
  static const std::vector<Pass> kPasses = {{"shrink_micro_batch", shrink_micro_batch},
                                            {"checkpoint_activations", checkpoint_activations},
                                            {"offload_optimizer", offload_optimizer},
                                            {"shorten_sequence", shorten_sequence}};
  return kPasses;
}

}  // namespace vramwise
