// Keys and defaults are those of transformers 5 (models/*/configuration_*.py). Whatever the text holds, the dimensions
// that come out are positive and small enough that their products stay within 64 bits.

#include "models/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "base/json.h"
#include "base/text.h"

namespace vramwise {
namespace {

constexpr std::int64_t kMostOfADimension = 1 << 24;
constexpr std::int64_t kMostLayers = 2048;
constexpr std::int64_t kMostPositions = std::int64_t{1} << 40;

// Reads keys one by one; the first error stays, and everything after it yields the fallback.
class Reader {
 public:
  explicit Reader(const Json& json) : json_(json) {}

  bool has(const char* key) const {
    const auto found = json_.find(key);
    return found != json_.end() && !found->is_null();
  }
  std::int64_t dimension(const char* key, std::int64_t fallback, std::int64_t most = kMostOfADimension) {
    const auto value = get<std::int64_t>(key, fallback);
    if (value >= 1 && value <= most) return value;
    fail(usage_error(fmt::format("{} is {}; it must be from 1 to {}", key, value, most)));
    return fallback;
  }
  bool is_null(const char* key) const { return json_.contains(key) && !has(key); }
  std::int64_t count(const char* key, std::int64_t fallback) { return get<std::int64_t>(key, fallback); }
  bool flag(const char* key, bool fallback) { return get<bool>(key, fallback); }
  double number(const char* key, double fallback) { return get<double>(key, fallback); }
  std::string text(const char* key, const char* fallback) { return get<std::string>(key, fallback); }
  /// rope_parameters (rope_scaling before transformers 5), its rope_type (type).
  std::string rope_type() const {
    for (const char* outer : {"rope_parameters", "rope_scaling"}) {
      if (!has(outer) || !json_.at(outer).is_object()) continue;
      for (const char* inner : {"rope_type", "type"}) {
        const Json& rope = json_.at(outer);
        if (rope.contains(inner) && rope.at(inner).is_string()) return rope.at(inner).get<std::string>();
      }
    }
    return "default";
  }
  std::vector<std::string> texts(const char* key) { return get<std::vector<std::string>>(key, {}); }

  void fail(Error error) {
    if (!error_) error_ = std::move(error);
  }
  const std::optional<Error>& error() const { return error_; }

 private:
  template <typename T>
  T get(const char* key, T fallback) {
    Result<T> value = json_get_or<T>(json_, key, fallback);
    if (value.ok()) return std::move(value).value();
    fail(value.error());
    return fallback;
  }

  const Json& json_;
  std::optional<Error> error_;
};

Error not_modelled(const std::string& what) {
  return incomplete(what, fmt::format("known are {}; `vramwise dryrun --gpu CARD -- python your_training.py` measures "
                                      "any model on a card that need not be there",
                                      fmt::join(known_model_types(), ", ")));
}

LlamaConfig read_decoder(Reader& r, std::optional<std::int64_t> default_kv_heads = std::nullopt) {
  LlamaConfig c;
  c.vocab_size = r.dimension("vocab_size", c.vocab_size);
  c.hidden_size = r.dimension("hidden_size", c.hidden_size);
  c.intermediate_size = r.dimension("intermediate_size", c.intermediate_size);
  c.layers = static_cast<int>(r.dimension("num_hidden_layers", c.layers, kMostLayers));
  c.heads = r.dimension("num_attention_heads", c.heads);
  c.kv_heads = r.dimension("num_key_value_heads", default_kv_heads.value_or(c.heads));
  if (!r.has("head_dim") && c.hidden_size < c.heads)
    r.fail(usage_error("hidden_size is less than the number of heads"));
  c.head_dim = r.dimension("head_dim", std::max<std::int64_t>(1, c.hidden_size / c.heads));
  if (c.heads % c.kv_heads != 0)
    r.fail(
        usage_error(fmt::format("num_key_value_heads {} does not divide num_attention_heads {}", c.kv_heads, c.heads)));
  c.ties_embeddings = r.flag("tie_word_embeddings", false);
  c.attention_dropout = r.number("attention_dropout", 0);
  if (const std::string act = r.text("hidden_act", "silu"); act != "silu" && act != "swish")
    r.fail(not_modelled(fmt::format("the activation {} is not modelled for this architecture", act)));
  // dynamic and longrope compute their frequencies anew while the model runs; the others differ in values only.
  constexpr std::array kFixedFrequencies = {"default", "linear", "llama3", "yarn"};
  if (const std::string type = r.rope_type();
      std::find(kFixedFrequencies.begin(), kFixedFrequencies.end(), type) == kFixedFrequencies.end())
    r.fail(not_modelled(fmt::format("rotary positions of type {} are not modelled", type)));
  return c;
}

LlamaConfig read_llama(Reader& r) {
  LlamaConfig c = read_decoder(r);
  c.qkv_bias = c.output_bias = r.flag("attention_bias", false);
  c.mlp_bias = r.flag("mlp_bias", false);
  return c;
}

LlamaConfig read_mistral(Reader& r) {
  LlamaConfig c = read_decoder(r, r.is_null("num_key_value_heads") ? std::nullopt : std::optional<std::int64_t>(8));
  // A window that the file doesn't name is 4096 tokens, one that is null is none.
  if (r.is_null("sliding_window")) return c;
  c.sliding_window = r.dimension("sliding_window", 4096, kMostPositions);
  c.sliding_layers.assign(static_cast<std::size_t>(c.layers), true);
  c.makes_full_mask = false;
  return c;
}

// Qwen2 and Qwen3: which layers slide is listed, or follows from max_window_layers.
void read_layer_types(Reader& r, LlamaConfig& c) {
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

LlamaConfig read_qwen2(Reader& r) {
  LlamaConfig c = read_decoder(r);
  c.qkv_bias = true;
  read_layer_types(r, c);
  return c;
}

LlamaConfig read_qwen3(Reader& r) {
  LlamaConfig c = read_decoder(r);
  if (!r.has("head_dim")) c.head_dim = 128;
  c.qkv_bias = c.output_bias = r.flag("attention_bias", false);
  c.normalizes_heads = true;
  read_layer_types(r, c);
  return c;
}

Gpt2Config read_gpt2(Reader& r) {
  Gpt2Config c;
  c.vocab_size = r.dimension("vocab_size", c.vocab_size);
  c.max_positions = r.dimension("n_positions", c.max_positions);
  c.hidden_size = r.dimension("n_embd", c.hidden_size);
  c.inner_size = r.has("n_inner") ? r.dimension("n_inner", 1) : 4 * c.hidden_size;
  c.layers = static_cast<int>(r.dimension("n_layer", c.layers, kMostLayers));
  c.heads = r.dimension("n_head", c.heads);
  c.embedding_dropout = r.number("embd_pdrop", c.embedding_dropout);
  c.attention_dropout = r.number("attn_pdrop", c.attention_dropout);
  c.residual_dropout = r.number("resid_pdrop", c.residual_dropout);
  c.ties_embeddings = r.flag("tie_word_embeddings", true);
  if (c.hidden_size % c.heads != 0)
    r.fail(usage_error(fmt::format("n_head {} does not divide n_embd {}", c.heads, c.hidden_size)));
  if (const std::string act = r.text("activation_function", "gelu_new"); act != "gelu_new")
    r.fail(not_modelled(fmt::format("the activation {} is not modelled for this architecture", act)));
  for (const char* key : {"add_cross_attention", "reorder_and_upcast_attn"})
    if (r.flag(key, false)) r.fail(not_modelled(fmt::format("{} is not modelled", key)));
  return c;
}

using Architecture = decltype(ModelConfig::architecture);
using ReadArchitecture = Architecture (*)(Reader&);

const std::map<std::string, ReadArchitecture>& architectures() {
  static const std::map<std::string, ReadArchitecture> known = {
      {"gpt2", [](Reader& r) -> Architecture { return read_gpt2(r); }},
      {"llama", [](Reader& r) -> Architecture { return read_llama(r); }},
      {"mistral", [](Reader& r) -> Architecture { return read_mistral(r); }},
      {"qwen2", [](Reader& r) -> Architecture { return read_qwen2(r); }},
      {"qwen3", [](Reader& r) -> Architecture { return read_qwen3(r); }},
  };
  return known;
}

std::optional<DType> dtype_named(const std::string& name) {
  if (name == "float32") return DType::kFloat32;
  if (name == "bfloat16") return DType::kBFloat16;
  if (name == "float16") return DType::kFloat16;
  return std::nullopt;
}

Error located(Error error, const std::string& where) {
  error.what = fmt::format("{}: {}", where, error.what);
  return error;
}

std::unique_ptr<CausalLm> make(tape::Tape& tape, const LlamaConfig& config, DType type, const ForwardOptions& options) {
  return llama(tape, config, type, options);
}
std::unique_ptr<CausalLm> make(tape::Tape& tape, const Gpt2Config& config, DType type, const ForwardOptions& options) {
  return gpt2(tape, config, type, options);
}

}  // namespace

std::vector<std::string> known_model_types() {
  std::vector<std::string> names;
  for (const auto& [name, read] : architectures()) names.push_back(name);
  return names;
}

Result<ModelConfig> parse_model_config(std::string_view text, const std::string& where) {
  VRAMWISE_ASSIGN_OR_RETURN(const Json json, parse_json(text, where));
  if (!json.is_object()) return world_error(fmt::format("{}: not a JSON object", where));
  Reader reader(json);
  ModelConfig config;
  config.model_type = reader.text("model_type", "");
  if (reader.error()) return located(*reader.error(), where);
  const auto found = architectures().find(config.model_type);
  if (found == architectures().end()) {
    if (config.model_type.empty()) return located(not_modelled("no model_type is given"), where);
    return located(not_modelled(fmt::format("the architecture \"{}\" is not modelled", config.model_type)), where);
  }
  config.architecture = found->second(reader);
  const char* positions = config.model_type == "gpt2" ? "n_positions" : "max_position_embeddings";
  config.max_positions = reader.has(positions) ? reader.dimension(positions, 1, kMostPositions) : std::int64_t{0};
  config.saved_dtype = dtype_named(reader.text(reader.has("dtype") ? "dtype" : "torch_dtype", ""));
  if (reader.error()) return located(*reader.error(), where);
  return config;
}

std::unique_ptr<CausalLm> make_model(tape::Tape& tape, const ModelConfig& config, DType type,
                                     const ForwardOptions& options) {
  return std::visit([&](const auto& architecture) { return make(tape, architecture, type, options); },
                    config.architecture);
}

int layers_of(const ModelConfig& config) {
  return std::visit([](const auto& architecture) { return architecture.layers; }, config.architecture);
}

}  // namespace vramwise
