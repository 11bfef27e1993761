// The output head and the loss in one operator that never holds full logits.
#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace vramwise {

struct HeadSettings {
  double norm_eps = 1e-5;
  std::int64_t chunk_tokens = 1024;
  double scale = 1.0;
};

struct HeadLoss {
  torch::Tensor scaled;   ///< scale * sum of NLL, fp32 scalar; undefined in no-grad mode
  torch::Tensor nll_sum;  ///< fp32 scalar, detached
};

/// x (tokens, hidden) before the last norm, table (vocab, hidden), targets (tokens) int64.
/// The gradients are formed at once, chunk by chunk, and only handed out by the backward pass: it keeps those of x, of
/// the table and of the norm weight, and neither x nor logits.
HeadLoss head_loss(const torch::Tensor& x, const torch::Tensor& norm_weight, const torch::Tensor& table,
                   const torch::Tensor& targets, const HeadSettings& settings);

}  // namespace vramwise
