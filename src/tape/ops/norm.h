// Normalisations.
#pragma once

#include "tape/tape.h"
#include "tape/tensor.h"

namespace vramwise::tape {

/// Over the last `weight.rank()` dimensions; weight and bias may be undefined (then `dims` says how many).
Tensor layer_norm(Tensor x, Tensor weight, Tensor bias, int dims = 1);
/// torch.nn.functional.rms_norm over the last dimension.
Tensor rms_norm(Tensor x, Tensor weight);
/// torch.nn.functional.batch_norm in training, with running statistics, over (n, c, …); by cuDNN.
Tensor batch_norm(Tensor x, Tensor weight, Tensor bias);
Tensor group_norm(Tensor x, int groups, Tensor weight, Tensor bias);

}  // namespace vramwise::tape
