// LlamaForCausalLM and those that differ from it by options only.

#include "models/decoders/llama.h"

#include "models/decoders/llama_parts.h"
#include "models/decoders/pre_norm_layer.h"
#include "models/decoders/rotary_decoder.h"

namespace vramwise {
namespace {

struct LlamaLayer : PreNormLayer<LlamaAttention, GatedMlp, RmsNorm> {
  enum Kind : int { kTurning, kNotTurning };
  static int kind(const LlamaConfig& c, int layer) { return c.turns(layer) ? kTurning : kNotTurning; }

  LlamaLayer(ParameterMaker& m, const LlamaConfig& c, int kind)
      : PreNormLayer{LlamaAttention(m, c,
                                    {.qkv_bias = c.qkv_bias,
                                     .output_bias = c.output_bias,
                                     .normalizes_heads = c.normalizes_heads,
                                     .has_rotary = kind == kTurning}),
                     GatedMlp(m, c, c.mlp_bias), RmsNorm(m, "input_layernorm", c.hidden_size),
                     RmsNorm(m, "post_attention_layernorm", c.hidden_size)} {}
};

struct LlamaDecoder : DecoderParts<LlamaConfig> {
  using Layer = LlamaLayer;
};

}  // namespace

Architecture llama_architecture(const LlamaConfig& config) {
  Architecture architecture = rotary_decoder<LlamaDecoder>(config);
  architecture.takes_4bit = true;
  architecture.takes_fused_loss = true;
  architecture.tells_modules = config.rotary_type != RotaryType::kOther;
  architecture.tensor_plan = gated_decoder_plan(config);
  return architecture;
}

}  // namespace vramwise
