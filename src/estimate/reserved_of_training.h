// An estimate for a search: what a card's allocator reserves, without what lies under it.
#pragma once

#include <optional>

#include "estimate/training.h"

namespace vramwise {

/// TrainingEstimate::reserved of the rank that reserves the most; none where that is more than any card counts
/// (DeviceMemoryLimits::kUnlimited). Errors: those of estimate_training().
Result<std::optional<Bytes>> reserved_of_training(const ModelConfig& model, TrainingSettings settings,
                                                  const TrainingCard& card, const AllocatorOptions& options);

}  // namespace vramwise
