// A plan that was saved as JSON, read again: enough to train by it, whatever a planner would choose today.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/result.h"
#include "plan/plan.h"

namespace vramwise {

struct SavedPlan {
  DecoderConfig model;
  std::string model_name;
  StepSettings step;
  std::vector<std::int64_t> micro_batches;  ///< per card
  std::vector<std::int64_t> sequences;      ///< of an optimizer step, per card
  std::vector<CardKnobs> knobs;             ///< per card
};

/// Errors: not a plan of ours, a later version of it, a key that is missing.
Result<SavedPlan> saved_plan_from_json(const Json& json);

/// Fixes everything in `request` as the plan has it. Errors (usage): another number of cards than the plan is for.
Status apply(const SavedPlan& saved, PlanRequest& request);

}  // namespace vramwise
