// The backward pass: runs the graph behind a tensor in the order of PyTorch's engine (torch/csrc/autograd/engine.cpp).
#pragma once

#include "tape/tensor.h"

namespace vramwise::tape {

struct BackwardOptions {
  bool retain_graph = false;  ///< keep the saved tensors
};

/// `root.backward(gradient)`. Without a gradient a tensor of ones is made, as Python does, and lives until the end.
void backward(const Tensor& root, Tensor gradient = {}, const BackwardOptions& options = {});

}  // namespace vramwise::tape
