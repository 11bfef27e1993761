// Why a configuration, in data: each knob that is not at its plain value is put back alone, and memory and time are
// predicted again.
#pragma once

#include "plan/training/judge.h"

namespace vramwise {

/// Fills in `decisions` and `notes` of a plan that has its best choice.
void explain_training(const TrainingRequest& request, const TrainingSpace& space, TrainingJudge& judge,
                      TrainingPlan& plan);

}  // namespace vramwise
