// torch.nn.functional.scaled_dot_product_attention, with the backend that PyTorch would choose on the card.
#pragma once

#include <cstdint>

#include "tape/tape.h"
#include "tape/tensor.h"

namespace vramwise::tape {

struct AttentionOptions {
  double dropout = 0;
  bool is_causal = false;
  bool enable_gqa = false;  ///< fewer heads of keys and values than of queries
};

enum class AttentionBackend : std::uint8_t { kMath, kFlash, kEfficient, kCudnn };

/// What sdp::select_sdp_backend answers. `mask` may be undefined.
AttentionBackend choose_attention(const Tensor& query, const Tensor& key, const Tensor& value, const Tensor& mask,
                                  const AttentionOptions& options);

/// All (batch, heads, length, head_dim); `mask` broadcasts to (batch, heads, length, key length), bool or floating.
Tensor scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor mask = {},
                                    const AttentionOptions& options = {});

/// flash_attn_func of the package flash-attn 2: all (batch, length, heads, head_dim), of 16 bits.
/// Written after its source (csrc/flash_attn/flash_api.cpp, flash_attn_interface.py); compared with no run of it.
Tensor flash_attention_2(Tensor query, Tensor key, Tensor value, const AttentionOptions& options);

}  // namespace vramwise::tape
