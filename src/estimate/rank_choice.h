// Which ranks of a run are estimated: whether a card holds it is decided by the rank that takes the most.
#pragma once

#include <vector>

#include "models/parallel_model.h"

namespace vramwise {

/// Of few ranks under DeepSpeed each; of many some that are spread evenly, and the one that keeps the most gradients.
/// Where all are alike, or one was asked for: that one alone.
std::vector<int> ranks_to_run(const ParallelOptions& parallel);

}  // namespace vramwise
