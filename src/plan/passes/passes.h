// The guide strategy as a list of passes. Each changes one thing, only when the candidate does not fit, and says why.
#pragma once

#include <string>
#include <vector>

#include "plan/candidate.h"
#include "plan/plan.h"

namespace vramwise {

struct PassContext {
  const PlanRequest& request;
  const std::vector<CardPlan>& cards;
  std::vector<Decision>& decisions;

  bool fits(const Candidate& candidate) const { return vramwise::fits(request.model, candidate, cards); }
  /// Whether the tier below holds what the candidate moves there.
  bool has_room_for_offload(const Candidate& candidate) const {
    return !request.offload_tier || offloaded_bytes(request.model, candidate, cards) <= request.offload_tier->room;
  }
  /// "1.20 GiB short": why a pass changes something.
  std::string shortage_text(const Candidate& candidate) const;
};

struct Pass {
  const char* name;
  void (*run)(Candidate& candidate, PassContext& context);
};

/// In order: what costs nothing but launches first, what changes the training last.
const std::vector<Pass>& guide_passes();

void shrink_micro_batch(Candidate& candidate, PassContext& context);
void checkpoint_activations(Candidate& candidate, PassContext& context);
void offload_optimizer(Candidate& candidate, PassContext& context);
void shorten_sequence(Candidate& candidate, PassContext& context);

}  // namespace vramwise
