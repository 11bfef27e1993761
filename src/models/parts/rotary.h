// Rotary positions (modeling_llama.py of transformers 5).
#pragma once

#include <utility>

#include "models/module.h"

namespace vramwise {

/// LlamaRotaryEmbedding: cosines and sines of (1, length, head_dim), in the type of `x`.
struct Rotary {
  Tensor inv_freq;
  Tensor original_inv_freq;

  Rotary() = default;
  Rotary(ParameterMaker& maker, std::int64_t head_dim);
  std::pair<Tensor, Tensor> operator()(const Tensor& x, const Tensor& positions) const;
};

std::pair<Tensor, Tensor> apply_rotary(const Tensor& query, const Tensor& key, const Tensor& cos, const Tensor& sin);

}  // namespace vramwise
