// The fused attention kernels behind scaled_dot_product_attention, each as one op of autograd.
#pragma once

#include "tape/ops/attention.h"

namespace vramwise::tape::internal {

/// See attention.h.
Tensor flash_attention_2(const Tensor& query, const Tensor& key, const Tensor& value, const AttentionOptions& options);
/// head_dim is a multiple of 8 already.
Tensor flash_attention(const Tensor& query, const Tensor& key, const Tensor& value, const AttentionOptions& options);
/// `mask` is of the query's type, of full shape, or undefined.
Tensor efficient_attention(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& mask,
                           const AttentionOptions& options);
Tensor cudnn_attention(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& mask,
                       const AttentionOptions& options);

}  // namespace vramwise::tape::internal
