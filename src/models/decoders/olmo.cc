// OlmoForCausalLM: Llama with layer norms that have no weights; rotary tables in float32. Olmo2ForCausalLM: norms after
// each half of a layer, and over all heads' queries and keys at once.

#include "models/decoders/olmo.h"

#include <tuple>
#include <utility>

#include "models/decoders/llama_parts.h"
#include "models/decoders/pre_norm_layer.h"
#include "models/decoders/rotary_decoder.h"

namespace vramwise {
namespace {

using namespace tape;  // reads as in PyTorch

struct OlmoConfig : StackConfig {
  bool attention_bias = false;
};

struct OlmoLayerNorm {
  Tensor operator()(const Tensor& x) const {
    Tensor normalized = layer_norm(to(x, DType::kFloat32), {}, {});
    return to(std::move(normalized), x.type());
  }
};

std::pair<Tensor, Tensor> apply_in_float32(const Tensor& query, const Tensor& key, const RotaryTable& table) {
  const auto [turned_query, turned_key] = apply_rotary(query, key, table);
  Tensor new_query = to(turned_query, query.type());
  return {std::move(new_query), to(turned_key, key.type())};
}

LlamaAttention projections_of(ParameterMaker& m, const OlmoConfig& c) {
  return {m, c, {.qkv_bias = c.attention_bias, .output_bias = c.attention_bias}};
}

struct OlmoAttention {
  LlamaAttention projections;

  Attended operator()(const Tensor& hidden, const LayerContext& context) const {
    const Dims heads = {hidden.size(0), hidden.size(1), -1, projections.head_dim};
    Tensor query = projections.q_proj(hidden);
    Tensor key = projections.k_proj(hidden);
    Tensor value = projections.v_proj(hidden);
    query = transpose(view(query, heads), 1, 2);
    key = transpose(view(key, heads), 1, 2);
    value = transpose(view(value, heads), 1, 2);
    std::tie(query, key) = apply_in_float32(query, key, context.rotary);
    Attended out = attend_cached(query, key, value, context);
    out.output = projections.o_proj(out.output);
    return out;
  }
};

struct OlmoLayer : PreNormLayer<OlmoAttention, GatedMlp, OlmoLayerNorm> {
  OlmoLayer(ParameterMaker& m, const OlmoConfig& c)
      : PreNormLayer{OlmoAttention{projections_of(m, c)}, GatedMlp(m, c), {}, {}} {}
};

struct OlmoFinalNorm : OlmoLayerNorm {
  OlmoFinalNorm(ParameterMaker&, const OlmoConfig&) {}
};

struct OlmoTables : CommonRotary {
  OlmoTables(ParameterMaker& m, const OlmoConfig& c)
      : CommonRotary(Rotary(m, c.head_dim, Rotary::Kind::kFloat32Halves)) {}
};

struct OlmoDecoder : DecoderParts<OlmoConfig> {
  using Layer = OlmoLayer;
  using Norm = OlmoFinalNorm;
  using Tables = OlmoTables;
};

struct Olmo2Attention {
  LlamaAttention projections;
  Olmo2RmsNorm q_norm, k_norm;

  Olmo2Attention(ParameterMaker& m, const OlmoConfig& c)
      : projections(projections_of(m, c)),
        q_norm(m, "self_attn.q_norm", c.query_width()),
        k_norm(m, "self_attn.k_norm", c.kv_width()) {}

  Attended operator()(const Tensor& hidden, const LayerContext& context) const {
    const Dims heads = {hidden.size(0), hidden.size(1), -1, projections.head_dim};
    Tensor query = q_norm(projections.q_proj(hidden));
    Tensor key = k_norm(projections.k_proj(hidden));
    Tensor value = projections.v_proj(hidden);
    query = transpose(view(query, heads), 1, 2);
    key = transpose(view(key, heads), 1, 2);
    value = transpose(view(value, heads), 1, 2);
    std::tie(query, key) = apply_in_float32(query, key, context.rotary);
    Attended out = attend_cached(query, key, value, context);
    out.output = projections.o_proj(out.output);
    return out;
  }
};

struct Olmo2Layer {
  Olmo2Attention self_attn;
  GatedMlp mlp;
  Olmo2RmsNorm post_attention_norm, post_feedforward_norm;

  Olmo2Layer(ParameterMaker& m, const OlmoConfig& c)
      : self_attn(m, c),
        mlp(m, c),
        post_attention_norm(m, "post_attention_layernorm", c.hidden_size),
        post_feedforward_norm(m, "post_feedforward_layernorm", c.hidden_size) {}

  Tensor operator()(const Tensor& x, const LayerContext& context) const {
    Tensor residual = x;
    auto [hidden, weights] = self_attn(x, context);
    hidden = post_attention_norm(hidden);
    hidden = residual + hidden;
    residual = hidden;
    hidden = mlp(hidden);
    hidden = post_feedforward_norm(hidden);
    hidden = residual + hidden;
    return hidden;
  }
};

struct Olmo2FinalNorm : Olmo2RmsNorm {
  Olmo2FinalNorm(ParameterMaker& m, const OlmoConfig& c) : Olmo2RmsNorm(m, "norm", c.hidden_size) {}
};

struct Olmo2Decoder : OlmoDecoder {
  using Layer = Olmo2Layer;
  using Norm = Olmo2FinalNorm;
};

OlmoConfig read_config(ConfigReader& r) {
  OlmoConfig c;
  c.vocab_size = 50304;
  read_stack(r, c);
  c.attention_bias = r.flag("attention_bias", false);
  return c;
}

}  // namespace

Architecture read_olmo(ConfigReader& r) {
  const OlmoConfig c = read_config(r);
  if (r.has("clip_qkv")) r.fail(not_modelled("clip_qkv is not modelled"));
  return rotary_decoder<OlmoDecoder>(c);
}

Architecture read_olmo2(ConfigReader& r) { return rotary_decoder<Olmo2Decoder>(read_config(r)); }

}  // namespace vramwise
