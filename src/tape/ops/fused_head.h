// The head and the log-probabilities of its targets in tiles, without all logits at once: TRL's add_fused_lm_head,
// which its SFTTrainer trains with.
#pragma once

#include "tape/tensor.h"

namespace vramwise::tape {

/// The mean negative log-likelihood of `labels` (batch, length - 1) from `hidden` (batch, length - 1, width) and
/// `weight` (classes, width); entropies and hits are computed beside it, for the trainer's metrics.
Tensor tiled_causal_lm_loss(Tensor hidden, const Tensor& weight, Tensor labels);

}  // namespace vramwise::tape
