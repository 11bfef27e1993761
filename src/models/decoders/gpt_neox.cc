// GPTNeoXForCausalLM: queries, keys and values of a head side by side in one projection; attention and feed-forward
// network on the same input, as a rule; a quarter of each head turns.

#include "models/decoders/gpt_neox.h"

#include <algorithm>
#include <tuple>
#include <utility>
#include <vector>

#include "models/decoders/rotary_decoder.h"

namespace vramwise {
namespace {

using namespace tape;  // reads as in PyTorch

struct NeoxConfig : StackConfig {
  std::int64_t rotary_dim = 24;
  double hidden_dropout = 0;
  bool attention_bias = true;
  bool is_parallel = true;
};

std::pair<Tensor, Tensor> apply_partly(const Tensor& query, const Tensor& key, const RotaryTable& table) {
  const std::int64_t dim = table.cos.size(-1);
  const Tensor query_turning = slice(query, 3, 0, dim);
  const Tensor query_rest = slice(query, 3, dim, query.size(3));
  const Tensor key_turning = slice(key, 3, 0, dim);
  const Tensor key_rest = slice(key, 3, dim, key.size(3));
  auto [new_query, new_key] = apply_rotary(query_turning, key_turning, table);
  new_query = cat({new_query, query_rest}, -1);
  new_key = cat({new_key, key_rest}, -1);
  return {std::move(new_query), std::move(new_key)};
}

struct NeoxAttention {
  Linear query_key_value, dense;
  std::int64_t head_dim;

  NeoxAttention(ParameterMaker& m, const NeoxConfig& c)
      : query_key_value(m, "attention.query_key_value", c.hidden_size, 3 * c.hidden_size, c.attention_bias),
        dense(m, "attention.dense", c.hidden_size, c.hidden_size, c.attention_bias),
        head_dim(c.head_dim) {}

  Attended operator()(const Tensor& hidden, const LayerContext& context) const {
    const Tensor qkv =
        transpose(view(query_key_value(hidden), {hidden.size(0), hidden.size(1), -1, 3 * head_dim}), 1, 2);
    std::vector<Tensor> parts = chunk(qkv, 3, -1);
    Tensor query = std::move(parts[0]);
    Tensor key = std::move(parts[1]);
    Tensor value = std::move(parts[2]);
    std::tie(query, key) = apply_partly(query, key, context.rotary);
    Attended out = attend_cached(query, key, value, context);
    out.output = dense(out.output);
    return out;
  }
};

struct NeoxMlp {
  Linear dense_h_to_4h, dense_4h_to_h;
  Activation activation;

  NeoxMlp(ParameterMaker& m, const NeoxConfig& c)
      : dense_h_to_4h(m, "mlp.dense_h_to_4h", c.hidden_size, c.intermediate_size, true),
        dense_4h_to_h(m, "mlp.dense_4h_to_h", c.intermediate_size, c.hidden_size, true),
        activation(c.activation) {}

  Tensor operator()(const Tensor& x) const {
    Tensor hidden = dense_h_to_4h(x);
    hidden = activate(activation, hidden);
    hidden = dense_4h_to_h(hidden);
    return hidden;
  }
};

struct NeoxLayer {
  LayerNorm input_norm, post_attention_norm;
  NeoxAttention attention;
  NeoxMlp mlp;
  double hidden_dropout;
  bool is_parallel;

  NeoxLayer(ParameterMaker& m, const NeoxConfig& c)
      : input_norm(m, "input_layernorm", c.hidden_size),
        post_attention_norm(m, "post_attention_layernorm", c.hidden_size),
        attention(m, c),
        mlp(m, c),
        hidden_dropout(c.hidden_dropout),
        is_parallel(c.is_parallel) {}

  Tensor operator()(const Tensor& x, const LayerContext& context) const {
    auto [attended, weights] = attention(input_norm(x), context);
    attended = dropout(attended, hidden_dropout);
    if (is_parallel) {
      Tensor fed = mlp(post_attention_norm(x));
      fed = dropout(fed, hidden_dropout);
      return fed + attended + x;
    }
    attended = attended + x;
    Tensor fed = mlp(post_attention_norm(attended));
    fed = dropout(fed, hidden_dropout);
    return fed + attended;
  }
};

struct NeoxFinalNorm : LayerNorm {
  NeoxFinalNorm(ParameterMaker& m, const NeoxConfig& c) : LayerNorm(m, "final_layer_norm", c.hidden_size) {}
};

struct NeoxTables : CommonRotary {
  NeoxTables(ParameterMaker& m, const NeoxConfig& c) : CommonRotary(Rotary(m, c.rotary_dim)) {}
};

struct NeoxDecoder : DecoderParts<NeoxConfig> {
  using Layer = NeoxLayer;
  using Norm = NeoxFinalNorm;
  using Tables = NeoxTables;

  static Tensor enter(const Tensor& embedded, const NeoxConfig& c) { return dropout(embedded, c.hidden_dropout); }
};

}  // namespace

Architecture read_gpt_neox(ConfigReader& r) {
  NeoxConfig c;
  c.vocab_size = 50432;
  c.hidden_size = 6144;
  c.intermediate_size = 24576;
  c.layers = 44;
  c.heads = 64;
  read_stack(r, c, {.activation = "gelu"});
  c.kv_heads = c.heads;
  c.head_dim = std::max<std::int64_t>(1, c.hidden_size / c.heads);
  if (c.head_dim * c.heads != c.hidden_size) r.fail(usage_error("num_attention_heads does not divide hidden_size"));
  c.rotary_dim = read_rotary_dim(r, c, r.number("rotary_pct", 0.25));
  c.hidden_dropout = r.number("hidden_dropout", 0);
  c.attention_bias = r.flag("attention_bias", true);
  c.is_parallel = r.flag("use_parallel_residual", true);
  return rotary_decoder<NeoxDecoder>(c);
}

}  // namespace vramwise
