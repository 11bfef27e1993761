// Embeddings times √width; norms in float32 with weights about zero; from the second generation on norms after each
// half of a layer too, and layers that alternate between a window and all positions. Gemma 2 caps scores and logits,
// Gemma 3 normalizes queries and keys and has rotary tables of two kinds.

#include "models/decoders/gemma.h"

#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "models/decoders/llama_parts.h"
#include "models/decoders/pre_norm_layer.h"
#include "models/decoders/rotary_decoder.h"

namespace vramwise {
namespace {

using namespace tape;  // reads as in PyTorch

struct GemmaConfig : StackConfig {
  bool attention_bias = false;
  bool caps_logits = false;
};

struct ScaledEmbedding : TokenEmbedding {
  Tensor scale;

  ScaledEmbedding(ParameterMaker& m, const StackConfig& c)
      : TokenEmbedding(m, c), scale(m.buffer({}, m.stored_type())) {}
  Tensor operator()(const Tensor& ids) const {
    Tensor embedded = TokenEmbedding::operator()(ids);
    return std::move(embedded) * to(scale, weight.type());
  }
};

struct GemmaFinalNorm : GemmaRmsNorm {
  GemmaFinalNorm(ParameterMaker& m, const StackConfig& c) : GemmaRmsNorm(m, "norm", c.hidden_size) {}
};

LlamaAttention gemma_attention(ParameterMaker& m, const GemmaConfig& c) {
  return {m, c, {.qkv_bias = c.attention_bias, .output_bias = c.attention_bias}};
}

struct GemmaLayer : PreNormLayer<LlamaAttention, GatedMlp, GemmaRmsNorm> {
  GemmaLayer(ParameterMaker& m, const GemmaConfig& c)
      : PreNormLayer{gemma_attention(m, c), GatedMlp(m, c), GemmaRmsNorm(m, "input_layernorm", c.hidden_size),
                     GemmaRmsNorm(m, "post_attention_layernorm", c.hidden_size)} {}
};

struct Gemma3Attention {
  LlamaAttention projections;
  GemmaRmsNorm q_norm, k_norm;

  Gemma3Attention(ParameterMaker& m, const GemmaConfig& c)
      : projections(gemma_attention(m, c)),
        q_norm(m, "self_attn.q_norm", c.head_dim),
        k_norm(m, "self_attn.k_norm", c.head_dim) {}

  Attended operator()(const Tensor& hidden, const LayerContext& context) const {
    const Dims heads = {hidden.size(0), hidden.size(1), -1, projections.head_dim};
    Tensor query = transpose(view(projections.q_proj(hidden), heads), 1, 2);
    Tensor key = transpose(view(projections.k_proj(hidden), heads), 1, 2);
    Tensor value = transpose(view(projections.v_proj(hidden), heads), 1, 2);
    query = q_norm(query);
    key = k_norm(key);
    std::tie(query, key) = apply_rotary(query, key, context.rotary);
    Attended out = attend_cached(query, key, value, context);
    out.output = projections.o_proj(out.output);
    return out;
  }
};

template <typename Attention>
struct SandwichLayer {
  Attention self_attn;
  GatedMlp mlp;
  GemmaRmsNorm input_norm, post_attention_norm, pre_feedforward_norm, post_feedforward_norm;

  Tensor operator()(const Tensor& x, const LayerContext& context) const {
    Tensor residual = x;
    Tensor hidden = input_norm(x);
    auto [attended, weights] = self_attn(hidden, context);
    hidden = std::move(attended);
    hidden = post_attention_norm(hidden);
    hidden = residual + hidden;
    residual = hidden;
    hidden = pre_feedforward_norm(hidden);
    hidden = mlp(hidden);
    hidden = post_feedforward_norm(hidden);
    hidden = residual + hidden;
    return hidden;
  }
};

template <typename Attention>
SandwichLayer<Attention> sandwich(ParameterMaker& m, const GemmaConfig& c, Attention attention) {
  return {std::move(attention),
          GatedMlp(m, c),
          {m, "input_layernorm", c.hidden_size},
          {m, "post_attention_layernorm", c.hidden_size},
          {m, "pre_feedforward_layernorm", c.hidden_size},
          {m, "post_feedforward_layernorm", c.hidden_size}};
}

struct Gemma2Layer : SandwichLayer<LlamaAttention> {
  Gemma2Layer(ParameterMaker& m, const GemmaConfig& c) : SandwichLayer(sandwich(m, c, gemma_attention(m, c))) {}
};

struct Gemma3Layer : SandwichLayer<Gemma3Attention> {
  Gemma3Layer(ParameterMaker& m, const GemmaConfig& c) : SandwichLayer(sandwich(m, c, Gemma3Attention(m, c))) {}
};

// One table for each kind of layer that there is.
struct Gemma3Tables {
  std::optional<Rotary> full, sliding;

  Gemma3Tables(ParameterMaker& m, const StackConfig& c) {
    bool some_full = false;
    for (std::size_t i = 0; i < static_cast<std::size_t>(c.layers); ++i) some_full = some_full || !c.slides(i);
    if (some_full) full.emplace(m, c.head_dim);
    if (c.some_slide()) sliding.emplace(m, c.head_dim);
  }
  RotaryTables operator()(const Tensor& x, const Tensor& positions) const {
    RotaryTables tables;
    if (full) tables.full = (*full)(x, positions);
    if (sliding) tables.sliding = (*sliding)(x, positions);
    return tables;
  }
};

struct GemmaDecoder : DecoderParts<GemmaConfig> {
  using Embed = ScaledEmbedding;
  using Norm = GemmaFinalNorm;
  using Layer = GemmaLayer;

  static Tensor logits(Tensor logits, const GemmaConfig& c) {
    if (!c.caps_logits) return logits;
    logits = logits / 30.0;
    logits = tape::tanh(logits);
    logits = logits * 30.0;
    return logits;
  }
};

struct Gemma2Decoder : GemmaDecoder {
  using Layer = Gemma2Layer;
};

struct Gemma3Decoder : GemmaDecoder {
  using Layer = Gemma3Layer;
  using Tables = Gemma3Tables;
};

void read_common(ConfigReader& r, GemmaConfig& c, const StackDefaults& defaults) {
  c.vocab_size = 256000;
  read_stack(r, c, defaults);
  c.attention_bias = r.flag("attention_bias", false);
  if (r.flag("use_bidirectional_attention", false))
    r.fail(not_modelled("attention in both directions is not modelled for this architecture"));
}

// Gemma 2 and 3: every `pattern`-th layer sees everything, the others have a window.
void read_second_generation(ConfigReader& r, GemmaConfig& c, std::int64_t pattern) {
  c.hidden_size = 2304;
  c.intermediate_size = 9216;
  c.layers = 26;
  c.heads = 8;
  read_common(r, c,
              {.kv_heads = 4,
               .head_dim = 256,
               .activation_key = "hidden_activation",
               .activation = "gelu_pytorch_tanh",
               .ties_embeddings = true});
  c.makes_sliding_mask = true;
  c.sliding_window = r.dimension("sliding_window", 4096, kMostPositions);
  std::vector<bool> slides;
  slides.reserve(static_cast<std::size_t>(c.layers));
  for (int i = 0; i < c.layers; ++i) slides.push_back((i + 1) % pattern != 0);
  read_layer_types(r, c, slides);
}

}  // namespace

Architecture read_gemma(ConfigReader& r) {
  GemmaConfig c;
  c.hidden_size = 3072;
  c.intermediate_size = 24576;
  c.layers = 28;
  c.heads = 16;
  read_common(r, c, {.kv_heads = 16, .head_dim = 256, .activation = "gelu_pytorch_tanh", .ties_embeddings = true});
  // Early files say "gelu" and mean this one; transformers takes it so.
  if (c.activation == Activation::kGelu) c.activation = Activation::kGeluTanh;
  return rotary_decoder<GemmaDecoder>(c);
}

Architecture read_gemma2(ConfigReader& r) {
  GemmaConfig c;
  read_second_generation(r, c, 2);
  // A null is no cap, no key is the default.
  c.caps_scores = !r.is_null("attn_logit_softcapping");
  c.caps_logits = !r.is_null("final_logit_softcapping");
  Architecture architecture = rotary_decoder<Gemma2Decoder>(c);
  architecture.has_sdpa = false;
  return architecture;
}

Architecture read_gemma3_text(ConfigReader& r) {
  GemmaConfig c;
  read_second_generation(r, c, r.dimension("sliding_window_pattern", 6));
  c.vocab_size = r.dimension("vocab_size", 262208);
  c.caps_logits = r.has("final_logit_softcapping");
  if (r.has("attn_logit_softcapping")) r.fail(not_modelled("attn_logit_softcapping is not modelled here"));
  return rotary_decoder<Gemma3Decoder>(c);
}

}  // namespace vramwise
