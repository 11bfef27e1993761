// Optimizers whose states are not on the device: in host memory for a GPU, in a mapped file for the CPU. They make the
// same update, piece by piece.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "train/optimizer.h"

namespace vramwise {

/// `folder`: where the file goes (CPU only). The file has no name there, and is gone when the process ends.
Result<std::unique_ptr<Optimizer>> make_offloaded_optimizer(const FlatLayout& layout, const FlatModel& model,
                                                            const AdamWRule& rule, const std::string& folder);

}  // namespace vramwise
