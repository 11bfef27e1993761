// A request for one trainer as one for another.
#pragma once

#include "plan/training/request.h"

namespace vramwise {

/// Sets what a trainer has of itself: its engine, the checkpoint's precision as it loads it (if no other is fixed),
/// what becomes of the model's results.
void take_trainer(TrainingRequest& request, Trainer trainer);

}  // namespace vramwise
