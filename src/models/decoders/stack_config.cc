// Keys of transformers 5 that the configurations of decoders have in common.

#include "models/decoders/stack_config.h"

#include <algorithm>
#include <string>

namespace vramwise {

bool StackConfig::some_slide() const {
  return std::find(sliding_layers.begin(), sliding_layers.end(), true) != sliding_layers.end();
}

void StackConfig::slide_everywhere(std::int64_t window) {
  sliding_window = window;
  sliding_layers.assign(static_cast<std::size_t>(layers), true);
  makes_full_mask = false;
}

namespace {

RotaryType rotary_type_named(const std::string& name) {
  if (name == "default") return RotaryType::kDefault;
  if (name == "linear") return RotaryType::kLinear;
  return name == "llama3" ? RotaryType::kLlama3 : RotaryType::kOther;
}

}  // namespace

void read_stack(ConfigReader& r, StackConfig& c, const StackDefaults& defaults) {
  c.vocab_size = r.dimension("vocab_size", c.vocab_size);
  c.hidden_size = r.dimension("hidden_size", c.hidden_size);
  c.intermediate_size = r.dimension("intermediate_size", c.intermediate_size);
  c.layers = r.layers("num_hidden_layers", c.layers);
  c.heads = r.dimension("num_attention_heads", c.heads);
  // A null is as good as no key for most configurations: then there are as many as heads.
  const bool takes_default = !r.is_null("num_key_value_heads") && defaults.kv_heads;
  c.kv_heads = r.dimension("num_key_value_heads", takes_default ? *defaults.kv_heads : c.heads);
  r.require_groups(c.heads, c.kv_heads);
  const std::int64_t share = std::max<std::int64_t>(1, c.hidden_size / c.heads);
  if (!r.has("head_dim") && !defaults.head_dim && c.hidden_size < c.heads)
    r.fail(usage_error("hidden_size is less than the number of heads"));
  c.head_dim = r.dimension("head_dim", r.is_null("head_dim") ? share : defaults.head_dim.value_or(share));
  c.max_positions = r.positions("max_position_embeddings");
  c.activation = read_activation(r, defaults.activation_key, defaults.activation);
  c.ties_embeddings = r.flag("tie_word_embeddings", defaults.ties_embeddings);
  c.attention_dropout = r.number("attention_dropout", 0);
  r.require_fixed_rotary();
  c.rotary_type = rotary_type_named(r.rope_type());
}

void read_layer_types(ConfigReader& r, StackConfig& c, const std::vector<bool>& slides_by_default) {
  const std::vector<std::string> types = r.texts("layer_types");
  c.sliding_layers = slides_by_default;
  for (std::size_t i = 0; i < types.size() && i < c.sliding_layers.size(); ++i) {
    c.sliding_layers[i] = types[i] == "sliding_attention";
    if (!c.sliding_layers[i] && types[i] != "full_attention")
      r.fail(not_modelled("layers of the type \"" + types[i] + "\" are not modelled"));
  }
  if (c.some_slide() && !c.sliding_window) r.fail(usage_error("layers slide, but sliding_window is not set"));
  if (!c.some_slide()) c.sliding_layers.clear();
}

std::int64_t read_rotary_dim(ConfigReader& r, const StackConfig& c, double default_factor) {
  const double factor = r.rope_number("partial_rotary_factor", r.number("partial_rotary_factor", default_factor));
  const bool is_share = factor > 0 && factor <= 1;
  const auto dim = is_share ? static_cast<std::int64_t>(static_cast<double>(c.head_dim) * factor) : 0;
  if (dim >= 2 && dim % 2 == 0) return dim;
  r.fail(usage_error("partial_rotary_factor leaves no even part of a head"));
  return c.head_dim;
}

}  // namespace vramwise
