// The attention interfaces of transformers 5, and the cache of keys and values that a model fills in training too.
#pragma once

#include <vector>

#include "models/causal_lm.h"
#include "models/module.h"
#include "models/parts/rotary.h"

namespace vramwise {

/// DynamicCache: one layer's keys and values after another, each a contiguous copy.
class KeyValueCache {
 public:
  /// Replaces both by what the cache holds. A sliding layer also has its window's width on the device.
  void update(Tensor& key, Tensor& value, bool is_sliding = false);
  std::vector<Tensor>* kept() { return &kept_; }

 private:
  std::vector<Tensor> kept_;
};

/// What all layers get besides their input.
struct LayerContext {
  RotaryTable rotary{};
  KeyValueCache* cache = nullptr;
  bool is_sliding = false;  ///< this layer
  Attention attention = Attention::kSdpa;
  double dropout = 0;
  std::int64_t groups = 1;   ///< query heads for each head of keys and values
  bool caps_scores = false;  ///< cap · tanh(scores / cap), of which only eager attention is capable
  Tensor mask{};             ///< undefined: causal, left to the kernel
  Tensor positions{};        ///< no layer of today's looks at them, but checkpointing keeps all arguments
};

/// What an attention module returns; the caller keeps the weights, where there are any, as long as Python does.
struct Attended {
  Tensor output;
  Tensor weights;
};

/// sdpa_attention_forward or eager_attention_forward: (batch, heads, length, dim) → (batch, length, heads, dim).
Attended attend(const Tensor& query, const Tensor& key, const Tensor& value, const LayerContext& context);

/// The same with keys and values that go through the cache first, as (batch, length, heads · dim).
Attended attend_cached(const Tensor& query, Tensor& key, Tensor& value, const LayerContext& context);

}  // namespace vramwise
