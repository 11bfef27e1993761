// PhiForCausalLM: one norm before attention and feed-forward network, which run side by side; a part of each head
// turns.

#include "models/decoders/phi.h"

#include <tuple>
#include <utility>

#include "models/decoders/rotary_decoder.h"

namespace vramwise {
namespace {

using namespace tape;  // reads as in PyTorch

struct PhiConfig : StackConfig {
  std::int64_t rotary_dim = 32;
  double residual_dropout = 0;
  double embedding_dropout = 0;
};

struct PhiAttention {
  Linear q_proj, k_proj, v_proj, dense;
  std::int64_t head_dim, rotary_dim;

  PhiAttention(ParameterMaker& m, const PhiConfig& c)
      : q_proj(m, "self_attn.q_proj", c.hidden_size, c.query_width(), true),
        k_proj(m, "self_attn.k_proj", c.hidden_size, c.kv_width(), true),
        v_proj(m, "self_attn.v_proj", c.hidden_size, c.kv_width(), true),
        dense(m, "self_attn.dense", c.query_width(), c.hidden_size, true),
        head_dim(c.head_dim),
        rotary_dim(c.rotary_dim) {}

  Attended operator()(const Tensor& hidden, const LayerContext& context) const {
    const Dims heads = {hidden.size(0), hidden.size(1), -1, head_dim};
    Tensor query = transpose(view(q_proj(hidden), heads), 1, 2);
    Tensor key = transpose(view(k_proj(hidden), heads), 1, 2);
    Tensor value = transpose(view(v_proj(hidden), heads), 1, 2);
    Tensor query_turning = slice(query, 3, 0, rotary_dim);
    const Tensor query_rest = slice(query, 3, rotary_dim, head_dim);
    Tensor key_turning = slice(key, 3, 0, rotary_dim);
    const Tensor key_rest = slice(key, 3, rotary_dim, head_dim);
    std::tie(query_turning, key_turning) = apply_rotary(query_turning, key_turning, context.rotary);
    query = cat({query_turning, query_rest}, -1);
    key = cat({key_turning, key_rest}, -1);
    Attended out = attend_cached(query, key, value, context);
    out.output = dense(out.output);
    return out;
  }
};

struct PhiMlp {
  Linear fc1, fc2;
  Activation activation;

  PhiMlp(ParameterMaker& m, const PhiConfig& c)
      : fc1(m, "mlp.fc1", c.hidden_size, c.intermediate_size, true),
        fc2(m, "mlp.fc2", c.intermediate_size, c.hidden_size, true),
        activation(c.activation) {}

  Tensor operator()(const Tensor& x) const {
    Tensor hidden = fc1(x);
    hidden = activate(activation, hidden);
    hidden = fc2(hidden);
    return hidden;
  }
};

struct PhiLayer {
  PhiAttention self_attn;
  PhiMlp mlp;
  LayerNorm input_norm;
  double residual_dropout;

  PhiLayer(ParameterMaker& m, const PhiConfig& c)
      : self_attn(m, c),
        mlp(m, c),
        input_norm(m, "input_layernorm", c.hidden_size),
        residual_dropout(c.residual_dropout) {}

  Tensor operator()(const Tensor& x, const LayerContext& context) const {
    const Tensor residual = x;
    Tensor hidden = input_norm(x);
    auto [attended, weights] = self_attn(hidden, context);
    attended = dropout(attended, residual_dropout);
    const Tensor fed = dropout(mlp(hidden), residual_dropout);
    hidden = attended + fed + residual;
    return hidden;
  }
};

struct PhiFinalNorm : LayerNorm {
  PhiFinalNorm(ParameterMaker& m, const PhiConfig& c) : LayerNorm(m, "final_layernorm", c.hidden_size) {}
};

struct PhiTables : CommonRotary {
  PhiTables(ParameterMaker& m, const PhiConfig& c) : CommonRotary(Rotary(m, c.rotary_dim)) {}
};

struct PhiDecoder : DecoderParts<PhiConfig> {
  using Layer = PhiLayer;
  using Norm = PhiFinalNorm;
  using Tables = PhiTables;
  static constexpr bool kHeadHasBias = true;
  static constexpr bool kNormComesLast = true;

  static Tensor enter(Tensor& embedded, const PhiConfig& c) {
    embedded = dropout(embedded, c.embedding_dropout);
    return embedded;
  }
};

}  // namespace

Architecture read_phi(ConfigReader& r) {
  PhiConfig c;
  c.vocab_size = 51200;
  c.hidden_size = 2048;
  c.intermediate_size = 8192;
  c.layers = 24;
  read_stack(r, c, {.activation = "gelu_new"});
  c.rotary_dim = read_rotary_dim(r, c, 0.5);
  c.residual_dropout = r.number("resid_pdrop", 0);
  c.embedding_dropout = r.number("embd_pdrop", 0);
  if (r.flag("qk_layernorm", false)) r.fail(not_modelled("qk_layernorm is not modelled"));
  return rotary_decoder<PhiDecoder>(c);
}

}  // namespace vramwise
