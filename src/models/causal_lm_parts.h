// What decoder architectures of transformers 5 share: rotary positions, the cache of keys and values that a model fills
// in training too, the attention interfaces, the loss.
#pragma once

#include <utility>
#include <vector>

#include "models/causal_lm.h"
#include "models/module.h"

namespace vramwise {

/// LlamaRMSNorm: in float32, by plain ops.
struct RmsNorm {
  Tensor weight;

  RmsNorm() = default;
  RmsNorm(ParameterMaker& maker, const char* name, std::int64_t width) : weight(maker.parameter(name, {width})) {}
  Tensor operator()(const Tensor& x) const;
};

/// LlamaRotaryEmbedding: cosines and sines of (1, length, head_dim), in the type of `x`.
struct Rotary {
  Tensor inv_freq;
  Tensor original_inv_freq;

  Rotary() = default;
  Rotary(ParameterMaker& maker, std::int64_t head_dim);
  std::pair<Tensor, Tensor> operator()(const Tensor& x, const Tensor& positions) const;
};

/// DynamicCache: one layer's keys and values after another, each a contiguous copy.
class KeyValueCache {
 public:
  /// Replaces both by what the cache holds. A sliding layer also has its window's width on the device.
  void update(Tensor& key, Tensor& value, bool is_sliding = false);

 private:
  std::vector<Tensor> kept_;
};

/// What all layers get besides their input.
struct LayerContext {
  Tensor cos;
  Tensor sin;
  KeyValueCache* cache = nullptr;
  bool is_sliding = false;  ///< this layer
  Attention attention = Attention::kSdpa;
  double dropout = 0;
  std::int64_t groups = 1;  ///< query heads for each head of keys and values
  Tensor mask;              ///< undefined: causal, left to the kernel
  Tensor positions;         ///< no layer of today's looks at them, but checkpointing keeps all arguments
};

/// enable_input_require_grads, which PEFT calls for a model with checkpointed layers: the embeddings want a gradient
/// though nothing before them does.
void mark_embeddings(const Tensor& embedded, const ForwardOptions& options);

std::pair<Tensor, Tensor> apply_rotary(const Tensor& query, const Tensor& key, const Tensor& cos, const Tensor& sin);

/// What an attention module returns; the caller keeps the weights, where there are any, as long as Python does.
struct Attended {
  Tensor output;
  Tensor weights;
};

/// sdpa_attention_forward or eager_attention_forward: (batch, heads, length, dim) → (batch, length, heads, dim).
Attended attend(const Tensor& query, const Tensor& key, const Tensor& value, const LayerContext& context);

/// A …ForCausalLM of transformers: a stack of layers, which the architecture runs, and the head over it.
class DecoderLm : public CausalLm {
 public:
  const std::vector<Tensor>& parameters() const override { return parameters_; }
  Tensor loss(const Tensor& input_ids, const Tensor& labels) override;

 protected:
  DecoderLm(tape::Tape& tape, DType type, const ForwardOptions& options)
      : options_(options), maker_(tape, type, options.lora) {}

  /// The last thing that a constructor does.
  void make_head(const Tensor& embeddings, bool ties_embeddings, std::int64_t width, std::int64_t vocab_size);
  /// (batch, length, width).
  virtual Tensor hidden_states(const Tensor& input_ids, KeyValueCache& cache) = 0;

  ForwardOptions options_;
  ParameterMaker maker_;

 private:
  Linear head_;
  std::vector<Tensor> parameters_;
};

/// ForCausalLMLoss: float32 logits, labels shifted by one.
Tensor causal_lm_loss(const Tensor& logits, const Tensor& labels);

}  // namespace vramwise
