// Softmax and log-softmax, and the losses made of them.
#pragma once

#include <optional>

#include "tape/tape.h"
#include "tape/tensor.h"

namespace vramwise::tape {

/// `type`: computed and returned in that type (the `dtype` argument of torch.softmax).
Tensor softmax(Tensor x, int dim, std::optional<DType> type = std::nullopt);
Tensor log_softmax(Tensor x, int dim, std::optional<DType> type = std::nullopt);

/// at::_safe_softmax: rows of −inf become zeros.
Tensor safe_softmax(Tensor x, int dim);

enum class LossReduction { kNone, kMean, kSum };

/// nll_loss of (N, C) log-probabilities and N targets.
Tensor nll_loss(Tensor x, Tensor target, LossReduction reduction = LossReduction::kMean);
/// torch.nn.functional.cross_entropy with class indices, of (N, C).
Tensor cross_entropy(Tensor x, Tensor target, LossReduction reduction = LossReduction::kMean);
Tensor mse_loss(Tensor x, Tensor target, LossReduction reduction = LossReduction::kMean);

}  // namespace vramwise::tape
