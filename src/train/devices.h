// The devices that a run names, checked before any memory is taken.
#pragma once

#include <torch/torch.h>

#include <string>

#include "base/result.h"

namespace vramwise {

/// "cpu" or "cuda:N". A CUDA device runs one small kernel, to see whether this PyTorch carries code for it. Errors: a
/// name that is none of these (kUsage); no such card, a driver that does not work, a card too old for this PyTorch
/// (kWorld).
Result<torch::Device> open_device(const std::string& name);

}  // namespace vramwise
