// Attention masks of transformers 5 (masking_utils.py), for sequences that are neither padded nor packed.
#pragma once

#include <cstdint>
#include <optional>

#include "models/causal_lm.h"
#include "models/module.h"

namespace vramwise {

struct MaskRequest {
  Tensor embeddings;  ///< (batch, length, width): the mask has their type where it is added to scores
  Tensor positions;   ///< (1 or batch, length) int64; undefined where the model doesn't pass them on
  Attention attention = Attention::kSdpa;
  bool has_cache = false;              ///< a cache of keys and values is filled; without one, packing is looked for
  std::optional<std::int64_t> window;  ///< sliding window, in tokens
};

/// create_causal_mask and create_sliding_window_causal_mask: undefined where the kernel needs none, else (batch, 1,
/// length, length), bool for SDPA, of the embeddings' type for eager attention.
Tensor causal_mask(const MaskRequest& request);

}  // namespace vramwise
