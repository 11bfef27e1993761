// Arguments of torchtune 0.6.1's builders (models/{llama3,llama3_2,qwen2,mistral}/_component_builders.py) from keys of
// transformers' configurations. What a builder has no argument for must be as the builder has it.

#include "models/torchtune/config.h"

#include <fmt/format.h>

#include "base/json.h"
#include "models/config_reader.h"
#include "models/decoders/llama.h"

namespace vramwise {
namespace {

// What torchtune's own Qwen2 and Mistral have; max_seq_len is anybody's choice.
constexpr std::int64_t kOwnPositions = 32768;

// The tokens of models/llama3/_tokenizer.py, special ones included.
constexpr std::int64_t kLlama3Tokens = 128256;

// The tokens of Tekken, which Mistral's models of 2024-07 and later have (Nemo, Ministral-8B: mistral_common's table of
// models): its checkpoints come with a tekken.json, and models/mistral/_tokenizer.py reads a file of SentencePiece.
constexpr std::int64_t kTekkenTokens = 131072;

// transformers 5: default_theta of modeling_rope_utils.py, rms_norm_eps of models/{llama,mistral,qwen2}.
constexpr double kUsualRopeTheta = 10000;
constexpr double kUsualNormEps = 1e-6;

struct Builder {
  TuneBuilder builder;
  const char* path;
  const char* checkpoint_type;
  const char* tokenizer;
  const char* tokenizer_files;
};

constexpr const char* kLlama3Tokenizer =
    "_component_: torchtune.models.llama3.llama3_tokenizer, "
    "path: \"${checkpointer.checkpoint_dir}/original/tokenizer.model\"";
constexpr const char* kLlama3Files = "original/tokenizer.model";
constexpr const char* kQwen2Tokenizer =
    "_component_: torchtune.models.qwen2.qwen2_tokenizer, path: \"${checkpointer.checkpoint_dir}/vocab.json\", "
    "merges_file: \"${checkpointer.checkpoint_dir}/merges.txt\"";
constexpr const char* kMistralTokenizer =
    "_component_: torchtune.models.mistral.mistral_tokenizer, "
    "path: \"${checkpointer.checkpoint_dir}/tokenizer.model\"";

// Llama 3.1's builder is that of 3.2 without tied embeddings.
constexpr Builder kBuilders[] = {
    {TuneBuilder::kLlama3, "torchtune.models.llama3.llama3", "LLAMA3", kLlama3Tokenizer, kLlama3Files},
    {TuneBuilder::kLlama32, "torchtune.models.llama3_2.llama3_2", "LLAMA3_2", kLlama3Tokenizer, kLlama3Files},
    {TuneBuilder::kQwen2, "torchtune.models.qwen2.qwen2", "QWEN2", kQwen2Tokenizer, "vocab.json and merges.txt"},
    {TuneBuilder::kMistral, "torchtune.models.mistral.mistral", "MISTRAL", kMistralTokenizer, "tokenizer.model"},
};

Error no_builder(const std::string& why) {
  return incomplete(
      fmt::format("torchtune's recipes are planned for its builders of Llama 3, Qwen2 and Mistral; {}", why),
      "--for transformers, accelerate, fsdp2 or deepspeed plan for other models.");
}

void require(ConfigReader& reader, bool is_so, const char* why) {
  if (!is_so) reader.fail(no_builder(why));
}

TuneBuilder builder_of(const std::string& type, const LlamaConfig& stack) {
  if (type == "qwen2") return TuneBuilder::kQwen2;
  if (type == "mistral") return TuneBuilder::kMistral;
  return stack.rotary_type == RotaryType::kLlama3 ? TuneBuilder::kLlama32 : TuneBuilder::kLlama3;
}

LlamaConfig stack_of(const std::string& type, ConfigReader& reader) {
  if (type == "qwen2") return qwen2_config(reader);
  return type == "mistral" ? mistral_config(reader) : llama_config(reader);
}

std::optional<double> said(ConfigReader& reader, const char* key) {
  if (reader.has(key)) return reader.number(key, 0);
  if (const double number = reader.rope_number(key, -1); number >= 0) return number;
  return std::nullopt;
}

TuneDecoderConfig read(const std::string& type, ConfigReader& r) {
  const LlamaConfig stack = stack_of(type, r);
  TuneDecoderConfig c;
  c.builder = builder_of(type, stack);
  c.vocab_size = stack.vocab_size;
  c.layers = stack.layers;
  c.heads = stack.heads;
  c.kv_heads = stack.kv_heads;
  c.width = stack.hidden_size;
  c.inner_width = stack.intermediate_size;
  c.max_positions = stack.max_positions > 0 || type == "llama" ? stack.max_positions : kOwnPositions;
  c.ties_embeddings = stack.ties_embeddings;
  c.rope_base = said(r, "rope_theta");
  c.norm_eps = said(r, "rms_norm_eps");
  const bool is_scaled = c.builder == TuneBuilder::kLlama32;
  if (is_scaled) c.rope_scale = r.rope_number("factor", 8);
  require(r, c.width % c.heads == 0 && stack.head_dim == c.head_dim(),
          "heads of another width than embed_dim / num_heads");
  require(r, c.head_dim() % 2 == 0, "heads of an odd width");
  require(r, stack.activation == Activation::kSilu, "another activation than silu");
  require(r, c.is_qwen() || !stack.qkv_bias, "biases of attention");
  require(r, !stack.mlp_bias && !stack.output_bias, "biases");
  require(r, stack.attention_dropout == 0, "dropout of attention");
  require(r, c.max_positions > 0, "the file doesn't say max_position_embeddings");
  require(r, is_scaled || stack.rotary_type == RotaryType::kDefault, "scaled rotary positions other than Llama 3's");
  require(r, c.is_qwen() || is_scaled || !c.ties_embeddings, "tied embeddings without Llama 3.2's positions");
  if (!is_scaled) return c;
  require(r,
          r.rope_number("low_freq_factor", 1) == 1 && r.rope_number("high_freq_factor", 4) == 4 &&
              r.rope_number("original_max_position_embeddings", 8192) == 8192,
          "rotary positions scaled by other factors than Llama 3's");
  return c;
}

}  // namespace

Result<TuneModel> parse_tune_model(std::string_view text, const std::string& where) {
  VRAMWISE_ASSIGN_OR_RETURN(const ModelConfig known, parse_model_config(text, where));
  const std::string& type = known.model_type;
  if (type != "llama" && type != "qwen2" && type != "mistral")
    return no_builder(fmt::format("\"{}\" is none of llama, mistral, qwen2", type));
  VRAMWISE_ASSIGN_OR_RETURN(const Json json, parse_json(text, where));
  ConfigReader reader(json);
  TuneModel made{.model = known,
                 .decoder = read(type, reader),
                 .builder = {},
                 .tokenizer = {},
                 .tokenizer_files = {},
                 .checkpoint_type = {}};
  if (reader.error()) return *reader.error();
  for (const Builder& each : kBuilders) {
    if (each.builder != made.decoder.builder) continue;
    made.builder = each.path;
    made.tokenizer = each.tokenizer;
    made.tokenizer_files = each.tokenizer_files;
    made.checkpoint_type = each.checkpoint_type;
  }
  made.model.architecture = tune_architecture(made.decoder);
  return made;
}

Status check_tokenizer(const TuneModel& tuned) {
  const TuneDecoderConfig& c = tuned.decoder;
  const bool is_llama3 = c.builder == TuneBuilder::kLlama3 || c.builder == TuneBuilder::kLlama32;
  if (is_llama3 && c.vocab_size != kLlama3Tokens)
    return no_builder(
        fmt::format("this llama has a vocabulary of {} tokens, and the recipe takes Llama 3's tokenizer of {}",
                    c.vocab_size, kLlama3Tokens));
  if (c.builder == TuneBuilder::kMistral && c.vocab_size == kTekkenTokens)
    return no_builder(
        fmt::format("this mistral has the {} tokens of Tekken, whose checkpoints have no tokenizer.model, which "
                    "torchtune's Mistral tokenizer reads",
                    kTekkenTokens));
  return Done{};
}

void take_unsaid(TuneDecoderConfig& config) {
  config.rope_base = config.rope_base.value_or(kUsualRopeTheta);
  config.norm_eps = config.norm_eps.value_or(kUsualNormEps);
}

ModelConfig with_layers(const TuneModel& tuned, int layers) {
  TuneDecoderConfig decoder = tuned.decoder;
  decoder.layers = layers;
  ModelConfig model = tuned.model;
  model.architecture = tune_architecture(decoder);
  return model;
}

std::string tune_arguments(const TuneDecoderConfig& c) {
  std::string text = fmt::format(
      "vocab_size: {}, num_layers: {}, num_heads: {}, num_kv_heads: {}, embed_dim: {}, intermediate_dim: {}, "
      "max_seq_len: {}",
      c.vocab_size, c.layers, c.heads, c.kv_heads, c.width, c.inner_width, c.max_positions);
  if (c.norm_eps) text += fmt::format(", norm_eps: {:#.3}", *c.norm_eps);
  if (c.rope_base) text += fmt::format(", rope_base: {}", *c.rope_base);
  if (c.scales_positions()) text += fmt::format(", scale_factor: {}", c.rope_scale);
  if (c.builder == TuneBuilder::kLlama32 || c.is_qwen())
    text += fmt::format(", tie_word_embeddings: {}", c.ties_embeddings ? "True" : "False");
  return text;
}

std::string left_out(const TuneDecoderConfig& config) {
  std::string names;
  if (!config.rope_base) names = fmt::format("rope_base (rope_theta there, else {})", kUsualRopeTheta);
  if (!config.norm_eps)
    names += fmt::format("{}norm_eps (rms_norm_eps there, else {})", names.empty() ? "" : ", ", kUsualNormEps);
  return names;
}

}  // namespace vramwise
