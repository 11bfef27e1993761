// The configurations that a search may choose from, as a product of the trainer's knobs. Micro-batch, accumulation and
// the number of recomputed layers are numbers of their own and not in the list.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/training/request.h"

namespace vramwise {

struct TrainingSpace {
  std::vector<TrainingConfiguration> options;  ///< plain values first
  std::vector<std::int64_t> micro_batches;     ///< the largest first; all divide the sequences of a card
  std::vector<int> recomputed;                 ///< numbers of layers, ascending; the last may be all of them
  std::int64_t sequences = 1;                  ///< of a step, on each card
};

/// Errors (usage): sequences that the cards cannot share evenly, a trainer that cannot do what is fixed.
Result<TrainingSpace> training_space(const TrainingRequest& request);

/// The configuration with those numbers.
TrainingConfiguration with_numbers(const TrainingConfiguration& option, std::int64_t micro_batch, std::int64_t passes,
                                   int recomputed, int layers);

}  // namespace vramwise
