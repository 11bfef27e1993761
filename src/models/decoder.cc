// The presets, the parameters and the config.json of our decoder.
//
// `medium` is the size whose two Adam moments take about 1 GiB in fp32 (8 bytes a parameter); the others stand around
// it. Names: transformers 5, src/transformers/models/llama/modeling_llama.py.
#include "models/decoder.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "base/json.h"
#include "base/text.h"

namespace vramwise {
namespace {

struct Preset {
  const char* name = nullptr;
  DecoderConfig config;
};

const std::array<Preset, 4>& presets() {
  static const std::array<Preset, 4> kPresets = {{
      {"tiny",
       {.hidden_size = 192, .n_layers = 6, .n_heads = 6, .n_kv_heads = 2, .head_dim = 32, .intermediate_size = 512}},
      {"small",
       {.hidden_size = 768, .n_layers = 6, .n_heads = 12, .n_kv_heads = 4, .head_dim = 64, .intermediate_size = 2048}},
      {"medium",
       {.hidden_size = 1024,
        .n_layers = 12,
        .n_heads = 16,
        .n_kv_heads = 4,
        .head_dim = 64,
        .intermediate_size = 2816}},
      {"large",
       {.hidden_size = 1280,
        .n_layers = 22,
        .n_heads = 20,
        .n_kv_heads = 5,
        .head_dim = 64,
        .intermediate_size = 3456}},
  }};
  return kPresets;
}

Status require_positive(std::int64_t value, const char* name) {
  // The cap keeps every product of dimensions below 2^63; it is far above any model that exists.
  constexpr std::int64_t kLargestDimension = std::int64_t{1} << 24;
  if (value >= 1 && value <= kLargestDimension) return Done{};
  return usage_error(fmt::format("{} is {}; it must be between 1 and {}", name, value, kLargestDimension));
}

}  // namespace

std::int64_t ParameterShape::count() const {
  std::int64_t product = 1;
  for (const std::int64_t dimension : shape) product *= dimension;
  return product;
}

const std::vector<std::string>& model_sizes() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names;
    for (const Preset& preset : presets()) names.emplace_back(preset.name);
    return names;
  }();
  return kNames;
}

Result<DecoderConfig> model_preset(const std::string& name) {
  for (const Preset& preset : presets()) {
    if (name == preset.name) return preset.config;
  }
  std::string remedy = "Known sizes: tiny, small, medium, large.";
  if (const auto near = closest_match(name, model_sizes()))
    remedy = fmt::format("Did you mean \"{}\"? {}", *near, remedy);
  return usage_error(fmt::format("unknown model size \"{}\"", name), remedy);
}

Status validate(const DecoderConfig& c) {
  const std::pair<std::int64_t, const char*> dimensions[] = {{c.vocab_size, "vocab_size"},
                                                             {c.hidden_size, "hidden_size"},
                                                             {c.n_layers, "n_layers"},
                                                             {c.n_heads, "n_heads"},
                                                             {c.n_kv_heads, "n_kv_heads"},
                                                             {c.head_dim, "head_dim"},
                                                             {c.intermediate_size, "intermediate_size"}};
  for (const auto& [value, name] : dimensions) VRAMWISE_RETURN_IF_ERROR(require_positive(value, name));
  constexpr std::int64_t kMostLayers = 2048;  // a plan walks through every block, many times
  if (c.n_layers > kMostLayers)
    return usage_error(
        fmt::format("n_layers {} is more than {}, the most that can be planned", c.n_layers, kMostLayers));
  if (c.n_heads % c.n_kv_heads != 0) {
    return usage_error(fmt::format("n_kv_heads {} does not divide n_heads {}", c.n_kv_heads, c.n_heads));
  }
  if (c.head_dim % 2 != 0)
    return usage_error(fmt::format("head_dim {} is odd; rotary positions need an even one", c.head_dim));
  if (!(c.rope_theta > 0) || !(c.rms_norm_eps > 0)) return usage_error("rope_theta and rms_norm_eps must be above 0");
  constexpr std::int64_t kMostParameters = std::int64_t{1} << 45;
  const double estimate = static_cast<double>(c.n_layers) * static_cast<double>(c.hidden_size) *
                          static_cast<double>(2 * (c.n_heads + c.n_kv_heads) * c.head_dim + 3 * c.intermediate_size);
  if (estimate > static_cast<double>(kMostParameters))
    return usage_error("the model has more than 35 trillion parameters");
  return Done{};
}

std::vector<ParameterShape> parameters(const DecoderConfig& c) {
  const std::int64_t q = c.n_heads * c.head_dim;
  const std::int64_t kv = c.n_kv_heads * c.head_dim;
  std::vector<ParameterShape> all = {{"model.embed_tokens.weight", {c.vocab_size, c.hidden_size}}};
  for (std::int64_t layer = 0; layer < c.n_layers; ++layer) {
    const std::string at = fmt::format("model.layers.{}.", layer);
    all.push_back({at + "input_layernorm.weight", {c.hidden_size}, false});
    all.push_back({at + "self_attn.q_proj.weight", {q, c.hidden_size}});
    all.push_back({at + "self_attn.k_proj.weight", {kv, c.hidden_size}});
    all.push_back({at + "self_attn.v_proj.weight", {kv, c.hidden_size}});
    all.push_back({at + "self_attn.o_proj.weight", {c.hidden_size, q}});
    all.push_back({at + "post_attention_layernorm.weight", {c.hidden_size}, false});
    all.push_back({at + "mlp.gate_proj.weight", {c.intermediate_size, c.hidden_size}});
    all.push_back({at + "mlp.up_proj.weight", {c.intermediate_size, c.hidden_size}});
    all.push_back({at + "mlp.down_proj.weight", {c.hidden_size, c.intermediate_size}});
  }
  all.push_back({"model.norm.weight", {c.hidden_size}, false});
  if (!c.tie_embeddings) all.push_back({"lm_head.weight", {c.vocab_size, c.hidden_size}});
  return all;
}

// As parameters() lists them; a search counts them thousands of times.
std::int64_t parameter_count(const DecoderConfig& c) {
  const std::int64_t q = c.n_heads * c.head_dim;
  const std::int64_t kv = c.n_kv_heads * c.head_dim;
  const std::int64_t block = c.hidden_size * (2 + 2 * q + 2 * kv + 3 * c.intermediate_size);
  return c.n_layers * block + c.hidden_size + c.vocab_size * c.hidden_size * (c.tie_embeddings ? 1 : 2);
}

Json to_hugging_face_config(const DecoderConfig& c, std::int64_t max_seq_len, const std::string& dtype) {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"vocab_size", c.vocab_size},
          {"hidden_size", c.hidden_size},
          {"intermediate_size", c.intermediate_size},
          {"num_hidden_layers", c.n_layers},
          {"num_attention_heads", c.n_heads},
          {"num_key_value_heads", c.n_kv_heads},
          {"head_dim", c.head_dim},
          {"hidden_act", "silu"},
          {"max_position_embeddings", max_seq_len},
          {"rms_norm_eps", c.rms_norm_eps},
          {"rope_theta", c.rope_theta},
          {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", c.rope_theta}}},
          {"attention_bias", false},
          {"mlp_bias", false},
          {"tie_word_embeddings", c.tie_embeddings},
          {"dtype", dtype}};
}

Json to_json(const DecoderConfig& c) {
  return {{"vocab_size", c.vocab_size},
          {"hidden_size", c.hidden_size},
          {"n_layers", c.n_layers},
          {"n_heads", c.n_heads},
          {"n_kv_heads", c.n_kv_heads},
          {"head_dim", c.head_dim},
          {"intermediate_size", c.intermediate_size},
          {"rope_theta", c.rope_theta},
          {"rms_norm_eps", c.rms_norm_eps},
          {"tie_embeddings", c.tie_embeddings}};
}

Result<DecoderConfig> decoder_config_from_json(const Json& json) {
  DecoderConfig c;
  VRAMWISE_ASSIGN_OR_RETURN(c.vocab_size, json_get<std::int64_t>(json, "vocab_size"));
  VRAMWISE_ASSIGN_OR_RETURN(c.hidden_size, json_get<std::int64_t>(json, "hidden_size"));
  VRAMWISE_ASSIGN_OR_RETURN(c.n_layers, json_get<std::int64_t>(json, "n_layers"));
  VRAMWISE_ASSIGN_OR_RETURN(c.n_heads, json_get<std::int64_t>(json, "n_heads"));
  VRAMWISE_ASSIGN_OR_RETURN(c.n_kv_heads, json_get<std::int64_t>(json, "n_kv_heads"));
  VRAMWISE_ASSIGN_OR_RETURN(c.head_dim, json_get<std::int64_t>(json, "head_dim"));
  VRAMWISE_ASSIGN_OR_RETURN(c.intermediate_size, json_get<std::int64_t>(json, "intermediate_size"));
  VRAMWISE_ASSIGN_OR_RETURN(c.rope_theta, json_get_or<double>(json, "rope_theta", c.rope_theta));
  VRAMWISE_ASSIGN_OR_RETURN(c.rms_norm_eps, json_get_or<double>(json, "rms_norm_eps", c.rms_norm_eps));
  VRAMWISE_ASSIGN_OR_RETURN(c.tie_embeddings, json_get_or<bool>(json, "tie_embeddings", c.tie_embeddings));
  VRAMWISE_RETURN_IF_ERROR(validate(c));
  return c;
}

}  // namespace vramwise
