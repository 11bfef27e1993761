// torchtune.modules: what its decoders are made of.
#pragma once

#include "models/module.h"
#include "models/torchtune/decoder.h"

namespace vramwise {

/// RMSNorm, which computes in float32.
struct TuneRmsNorm {
  Tensor scale;

  Tensor operator()(const Tensor& x) const;
};

/// RotaryPositionalEmbeddings, Llama3ScaledRoPE or Qwen2RotaryPositionalEmbeddings, one for all layers. The cache holds
/// every position that the model is made for.
struct TuneRotary {
  Tensor theta, cache;
  bool is_qwen = false;

  TuneRotary(ParameterMaker& maker, const TuneDecoderConfig& config);
  Tensor operator()(const Tensor& x) const;

 private:
  Tensor by_pairs(const Tensor& x) const;
  Tensor by_halves(const Tensor& x) const;
};

/// TransformerSelfAttentionLayer over MultiHeadAttention and FeedForward.
struct TuneLayer {
  Linear q_proj, k_proj, v_proj, output_proj;
  Linear w1, w2, w3;
  TuneRmsNorm sa_norm, mlp_norm;
  const TuneDecoderConfig* config;
  const TuneRotary* rotary;

  TuneLayer(ParameterMaker& maker, const TuneDecoderConfig& config, const TuneRotary& rotary);
  Tensor operator()(const Tensor& x) const;

 private:
  Tensor attend(const Tensor& x) const;
  Tensor feed_forward(const Tensor& x) const;
  Tensor for_each_query(const Tensor& x) const;
};

}  // namespace vramwise
