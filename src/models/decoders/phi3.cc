// Phi3ForCausalLM: Llama with fused projections, dropout after each half of a layer, and a part of each head that
// turns.

#include <tuple>
#include <utility>
#include <vector>

#include "models/decoders/phi.h"
#include "models/decoders/rotary_decoder.h"

namespace vramwise {
namespace {

using namespace tape;  // reads as in PyTorch

struct Phi3Config : StackConfig {
  std::int64_t rotary_dim = 96;
  double residual_dropout = 0;
};

// Even where all of a head turns, it is put together from the part that turned and an empty rest.
Tensor turned(const Tensor& turning, const Tensor& rest, const Tensor& cos, const Tensor& sin) {
  Tensor straight = turning * cos;
  Tensor whole = std::move(straight) + rotate_half(turning) * sin;
  return cat({std::move(whole), rest}, -1);
}

std::pair<Tensor, Tensor> apply_partly(const Tensor& query, const Tensor& key, const RotaryTable& table) {
  const Tensor cos = unsqueeze(table.cos, 1);
  const Tensor sin = unsqueeze(table.sin, 1);
  const std::int64_t dim = cos.size(-1);
  const Tensor query_turning = slice(query, 3, 0, dim);
  const Tensor query_rest = slice(query, 3, dim, query.size(3));
  const Tensor key_turning = slice(key, 3, 0, dim);
  const Tensor key_rest = slice(key, 3, dim, key.size(3));
  Tensor new_query = turned(query_turning, query_rest, cos, sin);
  return {std::move(new_query), turned(key_turning, key_rest, cos, sin)};
}

struct Phi3Attention {
  Linear o_proj, qkv_proj;
  std::int64_t head_dim, query_width, kv_width;

  Phi3Attention(ParameterMaker& m, const Phi3Config& c)
      : o_proj(m, "self_attn.o_proj", c.query_width(), c.hidden_size, false),
        qkv_proj(m, "self_attn.qkv_proj", c.hidden_size, c.query_width() + 2 * c.kv_width(), false),
        head_dim(c.head_dim),
        query_width(c.query_width()),
        kv_width(c.kv_width()) {}

  Attended operator()(const Tensor& hidden, const LayerContext& context) const {
    const Dims heads = {hidden.size(0), hidden.size(1), -1, head_dim};
    const Tensor qkv = qkv_proj(hidden);
    Tensor query = slice(qkv, 2, 0, query_width);
    Tensor key = slice(qkv, 2, query_width, query_width + kv_width);
    Tensor value = slice(qkv, 2, query_width + kv_width, qkv.size(2));
    query = transpose(view(query, heads), 1, 2);
    key = transpose(view(key, heads), 1, 2);
    value = transpose(view(value, heads), 1, 2);
    std::tie(query, key) = apply_partly(query, key, context.rotary);
    Attended out = attend_cached(query, key, value, context);
    out.output = o_proj(out.output);
    return out;
  }
};

struct Phi3Mlp {
  Linear gate_up_proj, down_proj;
  Activation activation;

  Phi3Mlp(ParameterMaker& m, const Phi3Config& c)
      : gate_up_proj(m, "mlp.gate_up_proj", c.hidden_size, 2 * c.intermediate_size, false),
        down_proj(m, "mlp.down_proj", c.intermediate_size, c.hidden_size, false),
        activation(c.activation) {}

  Tensor operator()(const Tensor& x) const {
    Tensor up = gate_up_proj(x);
    std::vector<Tensor> halves = chunk(std::move(up), 2, -1);
    const Tensor gate = std::move(halves[0]);
    up = std::move(halves[1]);
    up = up * activate(activation, gate);
    return down_proj(up);
  }
};

struct Phi3Layer {
  Phi3Attention self_attn;
  Phi3Mlp mlp;
  RmsNorm input_norm, post_attention_norm;
  double residual_dropout;

  Phi3Layer(ParameterMaker& m, const Phi3Config& c)
      : self_attn(m, c),
        mlp(m, c),
        input_norm(m, "input_layernorm", c.hidden_size),
        post_attention_norm(m, "post_attention_layernorm", c.hidden_size),
        residual_dropout(c.residual_dropout) {}

  Tensor operator()(const Tensor& x, const LayerContext& context) const {
    Tensor residual = x;
    Tensor hidden = input_norm(x);
    auto [attended, weights] = self_attn(hidden, context);
    hidden = std::move(attended);
    hidden = residual + dropout(hidden, residual_dropout);
    residual = hidden;
    hidden = post_attention_norm(hidden);
    hidden = mlp(hidden);
    hidden = residual + dropout(hidden, residual_dropout);
    return hidden;
  }
};

struct Phi3Tables : CommonRotary {
  Phi3Tables(ParameterMaker& m, const Phi3Config& c) : CommonRotary(Rotary(m, c.rotary_dim)) {}
};

struct Phi3Decoder : DecoderParts<Phi3Config> {
  using Layer = Phi3Layer;
  using Tables = Phi3Tables;
};

}  // namespace

Architecture read_phi3(ConfigReader& r) {
  Phi3Config c;
  c.vocab_size = 32064;
  c.hidden_size = 3072;
  c.intermediate_size = 8192;
  read_stack(r, c);
  // Early files call longrope "su" or "yarn".
  if (r.rope_type() == "yarn") r.fail(not_modelled("rotary positions of type longrope are not modelled"));
  c.rotary_dim = read_rotary_dim(r, c, 1.0);
  c.residual_dropout = r.number("resid_pdrop", 0);
  if (r.has("sliding_window")) c.slide_everywhere(r.dimension("sliding_window", 1, kMostPositions));
  return rotary_decoder<Phi3Decoder>(c);
}

}  // namespace vramwise
