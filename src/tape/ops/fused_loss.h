// A language model's head and loss in one op, which never holds the logits of all tokens.
#pragma once

#include "tape/tensor.h"

namespace vramwise::tape {

/// LigerFusedLinearCrossEntropyFunction of Liger-Kernel 0.8: the loss of x · weightᵀ against `target`. x: (tokens,
/// width), weight: (classes, width) of the same type, not under autocast. Gradients are computed with the loss.
Tensor fused_linear_cross_entropy(Tensor x, Tensor weight, Tensor target);

}  // namespace vramwise::tape
