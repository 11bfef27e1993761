// How memory goes over a training run, for a chart.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "estimate/training.h"

namespace vramwise {

/// The moment of a piece of the run at which most was allocated.
struct TrainingMoment {
  PartBytes by_owner{};  ///< in the allocator's granules
  Bytes reserved{};
  TrainingPhase phase = TrainingPhase::kLoad;
  int step = 0;  ///< from 0
};

/// The run in at most `most` pieces of equally many events, on a card without end.
std::vector<TrainingMoment> training_timeline(const TrainingTrace& trace, const AllocatorOptions& options,
                                              std::size_t most = 1000);

}  // namespace vramwise
