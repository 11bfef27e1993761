// The fastest way to train a Hugging Face model with a given trainer, on one card or on several that are alike: the
// estimate of src/estimate/training as the judge.
//
// Times are cheap, a bound on memory is cheap, a replay is dear. So candidates come up in the order of their time, each
// with as few recomputed layers as the bound lets it have; the first that the replay lets have as few is the answer.
// That is the answer of trying everything, as long as more recomputed layers never take more memory.
#pragma once

#include "plan/training/request.h"

namespace vramwise {

/// Errors: kDoesNotFit with what the smallest candidate takes; kIncomplete where no candidate is modelled; those of
/// training_space.
Result<TrainingPlan> plan_training(const TrainingRequest& request);

}  // namespace vramwise
