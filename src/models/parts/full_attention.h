// Attention of encoders: from every place to every place.
#pragma once

#include <cstdint>

#include "models/model.h"
#include "models/parts/attention.h"

namespace vramwise {

struct FullAttention {
  Attention kind = Attention::kSdpa;
  double dropout = 0;
  bool widens_scores = false;  ///< eager attention takes its softmax in float32
};

/// sdpa_attention_forward or eager_attention_forward without a mask: (batch, heads, length, dim) → (batch, length,
/// heads, dim).
Attended attend_to_all(const Tensor& query, const Tensor& key, const Tensor& value, const FullAttention& attention);

/// x.view(batch, length, −1, head_dim).transpose(1, 2).
Tensor as_heads(const Tensor& x, std::int64_t head_dim);

}  // namespace vramwise
