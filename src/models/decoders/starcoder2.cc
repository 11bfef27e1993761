// Starcoder2ForCausalLM: Mistral with layer norms, biases, a feed-forward network without gate, and dropouts.

#include "models/decoders/starcoder2.h"

#include <utility>

#include "models/decoders/llama_parts.h"
#include "models/decoders/pre_norm_layer.h"
#include "models/decoders/rotary_decoder.h"

namespace vramwise {
namespace {

using namespace tape;  // reads as in PyTorch

struct Starcoder2Config : StackConfig {
  bool has_bias = true;
  double residual_dropout = 0;
  double embedding_dropout = 0;
};

struct Starcoder2Mlp {
  Linear c_fc, c_proj;
  Activation activation;
  double residual_dropout;

  Starcoder2Mlp(ParameterMaker& m, const Starcoder2Config& c)
      : c_fc(m, "mlp.c_fc", c.hidden_size, c.intermediate_size, c.has_bias),
        c_proj(m, "mlp.c_proj", c.intermediate_size, c.hidden_size, c.has_bias),
        activation(c.activation),
        residual_dropout(c.residual_dropout) {}

  Tensor operator()(const Tensor& x) const {
    Tensor hidden = c_fc(x);
    hidden = activate(activation, hidden);
    hidden = c_proj(hidden);
    hidden = dropout(hidden, residual_dropout);
    return hidden;
  }
};

struct Starcoder2Layer : PreNormLayer<LlamaAttention, Starcoder2Mlp, LayerNorm> {
  Starcoder2Layer(ParameterMaker& m, const Starcoder2Config& c)
      : PreNormLayer{
            LlamaAttention(m, c,
                           {.qkv_bias = c.has_bias, .output_bias = c.has_bias, .output_dropout = c.residual_dropout}),
            Starcoder2Mlp(m, c), LayerNorm(m, "input_layernorm", c.hidden_size),
            LayerNorm(m, "post_attention_layernorm", c.hidden_size)} {}
};

struct Starcoder2FinalNorm : LayerNorm {
  Starcoder2FinalNorm(ParameterMaker& m, const Starcoder2Config& c) : LayerNorm(m, "norm", c.hidden_size) {}
};

struct Starcoder2Decoder : DecoderParts<Starcoder2Config> {
  using Layer = Starcoder2Layer;
  using Norm = Starcoder2FinalNorm;

  static Tensor enter(const Tensor& embedded, const Starcoder2Config& c) {
    return dropout(embedded, c.embedding_dropout);
  }
};

}  // namespace

Architecture read_starcoder2(ConfigReader& r) {
  Starcoder2Config c;
  c.vocab_size = 49152;
  c.hidden_size = 3072;
  c.intermediate_size = 12288;
  c.layers = 30;
  c.heads = 24;
  read_stack(r, c, {.kv_heads = 2, .activation = "gelu_pytorch_tanh", .ties_embeddings = true});
  c.has_bias = r.flag("use_bias", true);
  c.residual_dropout = r.number("residual_dropout", 0);
  c.embedding_dropout = r.number("embedding_dropout", 0);
  if (r.has("sliding_window")) c.slide_everywhere(r.dimension("sliding_window", 1, kMostPositions));
  return rotary_decoder<Starcoder2Decoder>(c);
}

}  // namespace vramwise
