// Activation checkpointing: keep a function's input instead of what it saves, and run it again in the backward pass.
#pragma once

#include <torch/torch.h>

#include <functional>

namespace vramwise {

/// function(x), keeping only x and the state of the random generators (the CPU's and that of x's device), which the
/// second run begins with again. Parameters that `function` captures get their gradients when the second run is
/// differentiated; x must require a gradient.
torch::Tensor checkpoint(std::function<torch::Tensor(const torch::Tensor&)> function, const torch::Tensor& x);

}  // namespace vramwise
