// Llama's attention and its gated feed-forward network, which many other architectures have too.
#pragma once

#include "models/decoders/stack_config.h"
#include "models/module.h"
#include "models/parts/attention.h"
#include "models/parts/rms_norm.h"

namespace vramwise {

struct LlamaAttentionOptions {
  bool qkv_bias = false;
  bool output_bias = false;
  bool normalizes_heads = false;  ///< RMS norms of each head's queries and keys (Qwen3)
  bool has_rotary = true;
  double output_dropout = 0;
};

struct LlamaAttention {
  Linear q_proj, k_proj, v_proj, o_proj;
  RmsNorm q_norm, k_norm;
  std::int64_t head_dim;
  LlamaAttentionOptions options;
  ModuleTag tag;

  LlamaAttention(ParameterMaker& maker, const StackConfig& config, const LlamaAttentionOptions& options);
  Attended operator()(const Tensor& hidden, const LayerContext& context) const;

 private:
  Attended forward(const Tensor& hidden, const LayerContext& context) const;
  Tensor normalized(Tensor heads, const RmsNorm& norm) const;
};

/// How tensor parallelism shares out decoders of such parts, tokens and head included (base_model_tp_plan, _tp_plan).
TensorPlan gated_decoder_plan(const StackConfig& config);

/// LlamaMLP: down(act(gate(x)) · up(x)).
struct GatedMlp {
  Linear gate_proj, up_proj, down_proj;
  Activation activation;
  ModuleTag tag, activation_tag;

  GatedMlp(ParameterMaker& maker, const StackConfig& config, bool has_bias = false)
      : GatedMlp(maker, config, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", config.intermediate_size, has_bias) {}
  GatedMlp(ParameterMaker& maker, const StackConfig& config, const char* gate, const char* up, const char* down,
           std::int64_t inner_size, bool has_bias)
      : gate_proj(maker, gate, config.hidden_size, inner_size, has_bias),
        up_proj(maker, up, config.hidden_size, inner_size, has_bias),
        down_proj(maker, down, inner_size, config.hidden_size, has_bias),
        activation(config.activation) {}

  Tensor operator()(const Tensor& in) const;
};

}  // namespace vramwise
