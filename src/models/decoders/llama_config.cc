// Keys and defaults of transformers 5: models/{llama,mistral,qwen2,qwen3,smollm3}/configuration_*.py.

#include <string>
#include <vector>

#include "models/decoders/llama.h"

namespace vramwise {
namespace {

// Qwen2 and Qwen3: which layers slide is listed, or follows from max_window_layers.
void read_window(ConfigReader& r, LlamaConfig& c) {
  const bool uses_window = r.flag("use_sliding_window", false) && !r.is_null("sliding_window");
  if (uses_window) c.sliding_window = r.dimension("sliding_window", 4096, kMostPositions);
  const std::int64_t first = r.count("max_window_layers", 28);
  std::vector<bool> slides;
  slides.reserve(static_cast<std::size_t>(c.layers));
  for (int i = 0; i < c.layers; ++i) slides.push_back(uses_window && i >= first);
  read_layer_types(r, c, slides);
}

}  // namespace

LlamaConfig llama_config(ConfigReader& r) {
  LlamaConfig c;
  read_stack(r, c);
  c.qkv_bias = c.output_bias = r.flag("attention_bias", false);
  c.mlp_bias = r.flag("mlp_bias", false);
  return c;
}

LlamaConfig mistral_config(ConfigReader& r) {
  LlamaConfig c;
  read_stack(r, c, {.kv_heads = 8});
  // A window that the file doesn't name is 4096 tokens, one that is null is none.
  if (!r.is_null("sliding_window")) c.slide_everywhere(r.dimension("sliding_window", 4096, kMostPositions));
  return c;
}

LlamaConfig qwen2_config(ConfigReader& r) {
  LlamaConfig c;
  read_stack(r, c);
  c.qkv_bias = true;
  read_window(r, c);
  return c;
}

LlamaConfig qwen3_config(ConfigReader& r) {
  LlamaConfig c;
  read_stack(r, c, {.head_dim = 128});
  c.qkv_bias = c.output_bias = r.flag("attention_bias", false);
  c.normalizes_heads = true;
  read_window(r, c);
  return c;
}

// Every fourth layer goes without rotary positions, unless the file says which.
LlamaConfig smollm3_config(ConfigReader& r) {
  LlamaConfig c;
  c.vocab_size = 128256;
  c.hidden_size = 2048;
  c.layers = 36;
  c.heads = 16;
  read_stack(r, c, {.kv_heads = 4, .ties_embeddings = true});
  c.qkv_bias = c.output_bias = r.flag("attention_bias", false);
  c.mlp_bias = r.flag("mlp_bias", false);
  const std::int64_t interval = r.dimension("no_rope_layer_interval", 4);
  const std::vector<std::int64_t> listed = r.counts("no_rope_layers");
  if (!listed.empty() && listed.size() < static_cast<std::size_t>(c.layers))
    r.fail(usage_error("no_rope_layers names fewer layers than there are"));
  const bool uses_window = r.flag("use_sliding_window", false) && r.has("sliding_window");
  if (uses_window) c.sliding_window = r.dimension("sliding_window", 1, kMostPositions);
  std::vector<bool> slides;
  for (int i = 0; i < c.layers; ++i) {
    const auto at = static_cast<std::size_t>(i);
    c.layers_without_rotary.push_back(at < listed.size() ? listed[at] == 0 : (i + 1) % interval == 0);
    slides.push_back(uses_window && c.layers_without_rotary.back());
  }
  read_layer_types(r, c, slides);
  return c;
}

Architecture read_llama(ConfigReader& reader) { return llama_architecture(llama_config(reader)); }
Architecture read_mistral(ConfigReader& reader) { return llama_architecture(mistral_config(reader)); }
Architecture read_qwen2(ConfigReader& reader) { return llama_architecture(qwen2_config(reader)); }
Architecture read_qwen3(ConfigReader& reader) { return llama_architecture(qwen3_config(reader)); }
Architecture read_smollm3(ConfigReader& reader) { return llama_architecture(smollm3_config(reader)); }

}  // namespace vramwise
