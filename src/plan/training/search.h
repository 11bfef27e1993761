// The fastest way to train a Hugging Face model with a given trainer, on one card or on several that are alike: the
// estimate of src/estimate/training as the judge.
//
// Times are cheap, a bound on memory is cheap, a replay is dear. So micro-batches of options come up in the order of
// their time with as few recomputed layers as the bound lets them have. Once something fits, each of the others is
// replayed where it would be faster by a hair: what does not fit there is out of the question at once. That is the
// answer of trying everything, as long as more recomputed layers (but
// not all) never take more memory.
#pragma once

#include "plan/training/request.h"

namespace vramwise {

/// Errors: kDoesNotFit with what the smallest candidate takes; kIncomplete where no candidate is modelled; those of
/// training_space.
Result<TrainingPlan> plan_training(const TrainingRequest& request);

/// Whether there is a plan, which takes much less time than to find the fastest.
bool can_train(const TrainingRequest& request);

}  // namespace vramwise
