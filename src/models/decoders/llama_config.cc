// Keys and defaults of transformers 5: models/{llama,mistral,qwen2,qwen3}/configuration_*.py.

#include "models/decoders/llama_config.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace vramwise {
namespace {

LlamaConfig read_decoder(ConfigReader& r, std::optional<std::int64_t> default_kv_heads = std::nullopt) {
  LlamaConfig c;
  c.vocab_size = r.dimension("vocab_size", c.vocab_size);
  c.hidden_size = r.dimension("hidden_size", c.hidden_size);
  c.intermediate_size = r.dimension("intermediate_size", c.intermediate_size);
  c.layers = r.layers("num_hidden_layers", c.layers);
  c.heads = r.dimension("num_attention_heads", c.heads);
  c.kv_heads = r.dimension("num_key_value_heads", default_kv_heads.value_or(c.heads));
  if (!r.has("head_dim") && c.hidden_size < c.heads)
    r.fail(usage_error("hidden_size is less than the number of heads"));
  c.head_dim = r.dimension("head_dim", std::max<std::int64_t>(1, c.hidden_size / c.heads));
  r.require_groups(c.heads, c.kv_heads);
  c.max_positions = r.positions("max_position_embeddings");
  c.ties_embeddings = r.flag("tie_word_embeddings", false);
  c.attention_dropout = r.number("attention_dropout", 0);
  r.require("hidden_act", "silu", {"silu", "swish"});
  r.require_fixed_rotary();
  return c;
}

// Qwen2 and Qwen3: which layers slide is listed, or follows from max_window_layers.
void read_layer_types(ConfigReader& r, LlamaConfig& c) {
  const bool uses_window = r.flag("use_sliding_window", false) && !r.is_null("sliding_window");
  if (uses_window) c.sliding_window = r.dimension("sliding_window", 4096, kMostPositions);
  const std::vector<std::string> types = r.texts("layer_types");
  const std::int64_t first = r.count("max_window_layers", 28);
  for (int i = 0; i < c.layers; ++i) {
    const auto at = static_cast<std::size_t>(i);
    c.sliding_layers.push_back(types.empty() ? uses_window && i >= first
                                             : at < types.size() && types[at] == "sliding_attention");
  }
  const bool some = std::find(c.sliding_layers.begin(), c.sliding_layers.end(), true) != c.sliding_layers.end();
  if (!some) c.sliding_layers.clear();
  if (some && !c.sliding_window) r.fail(usage_error("layers slide, but sliding_window is not set"));
}

}  // namespace

LlamaConfig llama_config(ConfigReader& r) {
  LlamaConfig c = read_decoder(r);
  c.qkv_bias = c.output_bias = r.flag("attention_bias", false);
  c.mlp_bias = r.flag("mlp_bias", false);
  return c;
}

LlamaConfig mistral_config(ConfigReader& r) {
  LlamaConfig c = read_decoder(r, r.is_null("num_key_value_heads") ? std::nullopt : std::optional<std::int64_t>(8));
  // A window that the file doesn't name is 4096 tokens, one that is null is none.
  if (r.is_null("sliding_window")) return c;
  c.sliding_window = r.dimension("sliding_window", 4096, kMostPositions);
  c.sliding_layers.assign(static_cast<std::size_t>(c.layers), true);
  c.makes_full_mask = false;
  return c;
}

LlamaConfig qwen2_config(ConfigReader& r) {
  LlamaConfig c = read_decoder(r);
  c.qkv_bias = true;
  read_layer_types(r, c);
  return c;
}

LlamaConfig qwen3_config(ConfigReader& r) {
  LlamaConfig c = read_decoder(r);
  if (!r.has("head_dim")) c.head_dim = 128;
  c.qkv_bias = c.output_bias = r.flag("attention_bias", false);
  c.normalizes_heads = true;
  read_layer_types(r, c);
  return c;
}

Architecture read_llama(ConfigReader& reader) { return llama_architecture(llama_config(reader)); }
Architecture read_mistral(ConfigReader& reader) { return llama_architecture(mistral_config(reader)); }
Architecture read_qwen2(ConfigReader& reader) { return llama_architecture(qwen2_config(reader)); }
Architecture read_qwen3(ConfigReader& reader) { return llama_architecture(qwen3_config(reader)); }

}  // namespace vramwise
