// GraniteForCausalLM: Llama with multipliers at embeddings, residuals and logits.

#include "models/decoders/granite.h"

#include <utility>

#include "models/decoders/llama_parts.h"
#include "models/decoders/rotary_decoder.h"

namespace vramwise {
namespace {

using namespace tape;  // reads as in PyTorch

struct GraniteConfig : StackConfig {
  bool attention_bias = false;
  bool mlp_bias = false;
};

struct GraniteLayer {
  LlamaAttention self_attn;
  GatedMlp mlp;
  RmsNorm input_norm, post_attention_norm;

  GraniteLayer(ParameterMaker& m, const GraniteConfig& c)
      : self_attn(m, c, {.qkv_bias = c.attention_bias, .output_bias = c.attention_bias}),
        mlp(m, c, c.mlp_bias),
        input_norm(m, "input_layernorm", c.hidden_size),
        post_attention_norm(m, "post_attention_layernorm", c.hidden_size) {}

  Tensor operator()(const Tensor& x, const LayerContext& context) const {
    Tensor residual = x;
    Tensor hidden = input_norm(x);
    auto [attended, weights] = self_attn(hidden, context);
    hidden = std::move(attended);
    hidden = residual + hidden * 0.5;
    residual = hidden;
    hidden = post_attention_norm(hidden);
    hidden = mlp(hidden);
    hidden = residual + hidden * 0.5;
    return hidden;
  }
};

struct GraniteDecoder : DecoderParts<GraniteConfig> {
  using Layer = GraniteLayer;

  static Tensor embedded(Tensor embedded, const GraniteConfig&) { return embedded * 12.0; }
  static Tensor logits(Tensor logits, const GraniteConfig&) {
    logits = logits / 8.0;
    return logits;
  }
};

}  // namespace

Architecture read_granite(ConfigReader& r) {
  GraniteConfig c;
  read_stack(r, c);
  c.attention_bias = r.flag("attention_bias", false);
  c.mlp_bias = r.flag("mlp_bias", false);
  return rotary_decoder<GraniteDecoder>(c);
}

}  // namespace vramwise
