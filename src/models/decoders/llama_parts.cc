// modeling_llama.py, line by line: which values modules and functions keep, and for how long.

#include "models/decoders/llama_parts.h"

#include <tuple>
#include <utility>

#include "models/parts/rotary.h"
#include "tape/ops/index.h"
#include "tape/ops/pointwise.h"
#include "tape/ops/views.h"

namespace vramwise {

using namespace tape;  // reads as in PyTorch

LlamaAttention::LlamaAttention(ParameterMaker& m, const StackConfig& c, const LlamaAttentionOptions& options)
    : q_proj(m, "self_attn.q_proj", c.hidden_size, c.query_width(), options.qkv_bias),
      k_proj(m, "self_attn.k_proj", c.hidden_size, c.kv_width(), options.qkv_bias),
      v_proj(m, "self_attn.v_proj", c.hidden_size, c.kv_width(), options.qkv_bias),
      o_proj(m, "self_attn.o_proj", c.query_width(), c.hidden_size, options.output_bias),
      head_dim(c.head_dim),
      options(options) {
  if (!options.normalizes_heads) return;
  q_norm = RmsNorm(m, "self_attn.q_norm", head_dim);
  k_norm = RmsNorm(m, "self_attn.k_norm", head_dim);
}

Tensor LlamaAttention::normalized(Tensor heads, const RmsNorm& norm) const {
  return options.normalizes_heads ? norm(heads) : heads;
}

// The layer names all arguments.
Attended LlamaAttention::operator()(const Tensor& hidden, const LayerContext& context) const {
  ModuleHooks* hooks = hidden.tape().module_hooks();
  if (hooks == nullptr) return forward(hidden, context);
  hooks->enter(&tag, {});
  Attended out = forward(hidden, context);
  hooks->leave(&tag);
  out.output = hooks->output(&tag, out.output);
  if (out.weights.defined()) out.weights = hooks->output(&tag, out.weights);
  return out;
}

Attended LlamaAttention::forward(const Tensor& hidden, const LayerContext& context) const {
  const Dims heads = {hidden.size(0), hidden.size(1), -1, head_dim};
  Tensor query = transpose(normalized(view(q_proj(hidden), heads), q_norm), 1, 2);
  Tensor key = transpose(normalized(view(k_proj(hidden), heads), k_norm), 1, 2);
  Tensor value = transpose(view(v_proj(hidden), heads), 1, 2);
  if (options.has_rotary) std::tie(query, key) = apply_rotary(query, key, context.rotary);
  Attended out = attend_cached(query, key, value, context);
  out.output = o_proj(out.output);
  out.output = dropout(out.output, options.output_dropout);
  return out;
}

TensorPlan gated_decoder_plan(const StackConfig& config) {
  return {.rules = {{"embed_tokens", TensorStyle::kEmbeddingRowwise},
                    {"self_attn.q_proj", TensorStyle::kColwise},
                    {"self_attn.k_proj", TensorStyle::kColwise},
                    {"self_attn.v_proj", TensorStyle::kColwise},
                    {"self_attn.o_proj", TensorStyle::kRowwise},
                    {"mlp.gate_proj", TensorStyle::kColwise},
                    {"mlp.up_proj", TensorStyle::kColwise},
                    {"mlp.down_proj", TensorStyle::kRowwise},
                    {"lm_head", TensorStyle::kColwiseGatherOutput}},
          .heads = config.kv_heads};
}

Tensor GatedMlp::operator()(const Tensor& in) const {
  return call_module(&tag, {}, in, [this](const Tensor& x) {
    Tensor gate =
        call_module(&activation_tag, {}, gate_proj(x), [this](const Tensor& y) { return activate(activation, y); });
    return down_proj(std::move(gate) * up_proj(x));
  });
}

}  // namespace vramwise
