// CohereForCausalLM: attention and feed-forward network side by side after one layer norm of plain ops; neighbours in a
// head turn, in float32; scaled logits.

#include "models/decoders/cohere.h"

#include <tuple>
#include <utility>

#include "models/decoders/llama_parts.h"
#include "models/decoders/rotary_decoder.h"
#include "tape/ops/reduce.h"

namespace vramwise {
namespace {

using namespace tape;  // reads as in PyTorch

struct CohereConfig : StackConfig {
  bool attention_bias = false;
  bool normalizes_heads = false;
};

struct CohereLayerNorm {
  Tensor weight;

  CohereLayerNorm() = default;
  CohereLayerNorm(ParameterMaker& m, const char* name, const Dims& sizes) : weight(m.parameter(name, sizes)) {}

  Tensor operator()(const Tensor& x) const {
    Tensor hidden = to(x, DType::kFloat32);
    const Tensor average = mean(hidden, {-1}, true);
    const Tensor variance = mean(pow(hidden - average, 2), {-1}, true);
    Tensor centred = hidden - average;
    hidden = std::move(centred) * rsqrt(variance + 1e-5);
    hidden = to(weight, DType::kFloat32) * hidden;
    return to(hidden, x.type());
  }
};

Tensor rotate_pairs(const Tensor& x) {
  const int last = x.rank() - 1;
  const Tensor even = slice(x, last, 0, x.size(-1), 2);
  const Tensor odd = slice(x, last, 1, x.size(-1), 2);
  const Tensor turned = flatten(stack({-odd, even}, -1), -2, -1);
  return turned;
}

Tensor rotated(const Tensor& x, const Tensor& cos, const Tensor& sin) {
  Tensor straight = x * cos;
  return std::move(straight) + rotate_pairs(x) * sin;
}

void apply_to_pairs(Tensor& query, Tensor& key, const RotaryTable& table) {
  const DType type = query.type();
  const Tensor wide_query = to(query, DType::kFloat32);
  const Tensor wide_key = to(key, DType::kFloat32);
  const Tensor cos = unsqueeze(table.cos, 1);
  const Tensor sin = unsqueeze(table.sin, 1);
  const Tensor turned_query = rotated(wide_query, cos, sin);
  const Tensor turned_key = rotated(wide_key, cos, sin);
  Tensor new_query = to(turned_query, type);
  key = to(turned_key, type);
  query = std::move(new_query);
}

struct CohereAttention {
  LlamaAttention projections;
  CohereLayerNorm q_norm, k_norm;
  bool normalizes;

  CohereAttention(ParameterMaker& m, const CohereConfig& c)
      : projections(m, c, {.qkv_bias = c.attention_bias, .output_bias = c.attention_bias}),
        normalizes(c.normalizes_heads) {
    if (!normalizes) return;
    q_norm = CohereLayerNorm(m, "self_attn.q_norm", {c.heads, c.head_dim});
    k_norm = CohereLayerNorm(m, "self_attn.k_norm", {c.kv_heads, c.head_dim});
  }

  Attended operator()(const Tensor& hidden, const LayerContext& context) const {
    const Dims heads = {hidden.size(0), hidden.size(1), -1, projections.head_dim};
    Tensor query = view(projections.q_proj(hidden), heads);
    Tensor key = view(projections.k_proj(hidden), heads);
    Tensor value = view(projections.v_proj(hidden), heads);
    if (normalizes) {
      query = q_norm(query);
      key = k_norm(key);
    }
    query = transpose(query, 1, 2);
    key = transpose(key, 1, 2);
    value = transpose(value, 1, 2);
    apply_to_pairs(query, key, context.rotary);
    Attended out = attend_cached(query, key, value, context);
    out.output = projections.o_proj(out.output);
    return out;
  }
};

struct CohereLayer {
  CohereAttention self_attn;
  GatedMlp mlp;
  CohereLayerNorm input_norm;

  CohereLayer(ParameterMaker& m, const CohereConfig& c)
      : self_attn(m, c), mlp(m, c), input_norm(m, "input_layernorm", {c.hidden_size}) {}

  Tensor operator()(const Tensor& x, const LayerContext& context) const {
    const Tensor residual = x;
    Tensor hidden = input_norm(x);
    const auto [attended, weights] = self_attn(hidden, context);
    const Tensor fed = mlp(hidden);
    hidden = residual + attended + fed;
    return hidden;
  }
};

struct CohereFinalNorm : CohereLayerNorm {
  CohereFinalNorm(ParameterMaker& m, const CohereConfig& c) : CohereLayerNorm(m, "norm", {c.hidden_size}) {}
};

struct CohereTables : CommonRotary {
  CohereTables(ParameterMaker& m, const CohereConfig& c) : CommonRotary(Rotary(m, c.head_dim, Rotary::Kind::kPairs)) {}
};

struct CohereDecoder : DecoderParts<CohereConfig> {
  using Layer = CohereLayer;
  using Norm = CohereFinalNorm;
  using Tables = CohereTables;

  static Tensor logits(Tensor logits, const CohereConfig&) {
    logits = logits * 0.0625;
    return logits;
  }
};

}  // namespace

Architecture read_cohere(ConfigReader& r) {
  CohereConfig c;
  c.vocab_size = 256000;
  c.hidden_size = 8192;
  c.intermediate_size = 22528;
  c.layers = 40;
  c.heads = 64;
  read_stack(r, c, {.ties_embeddings = true});
  c.attention_bias = r.flag("attention_bias", false);
  c.normalizes_heads = r.flag("use_qk_norm", false);
  return rotary_decoder<CohereDecoder>(c);
}

}  // namespace vramwise
