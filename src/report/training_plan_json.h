// A plan for another trainer than ours as JSON (docs/formats.md, "vramwise.plan_training").
#pragma once

#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "gpus/catalogue.h"
#include "plan/training/alternatives.h"
#include "plan/training/documents.h"

namespace vramwise {

inline constexpr int kTrainingPlanSchemaVersion = 2;

struct TrainingPlanReport {
  const TrainingRequest& request;
  std::string card;  ///< name of the card, of which there are request.cards
};

/// The plan's choice as its documents are made from.
Told told_of(const TrainingRequest& request, const TrainingPlan& plan);

Json training_plan_json(const TrainingPlanReport& report, const TrainingPlan& plan);

/// What is said instead of a plan where nothing fits.
Json no_training_plan_json(const TrainingPlanReport& report, const std::string& why,
                           const std::vector<TrainingAlternative>& changes, const std::vector<const GpuModel*>& cards);

/// "batch 4 x 2, the first 12 layers recomputed, liger, fsdp2": every knob that is not at its plain value.
std::string summary_of(const TrainingConfiguration& configuration);

}  // namespace vramwise
