// The presets decide; each dimension that is given by flag takes the place of the preset's.
#include "cli/model_options.h"

#include <fmt/format.h>

namespace vramwise::cli {

void ModelOptions::add_to(CLI::App& command) {
  constexpr const char* kGroup = "Model";
  command.add_option("--model_size", model_size, "tiny, small, medium or large")->capture_default_str()->group(kGroup);
  command.add_option("--vocab_size", vocab_size, "Tokens in the vocabulary (default: what the data has; bytes: 256)")
      ->group(kGroup);
  command.add_option("--hidden_size", hidden_size, "Width of the residual stream")->group(kGroup);
  command.add_option("--n_layers", n_layers, "Blocks")->group(kGroup);
  command.add_option("--n_heads", n_heads, "Query heads")->group(kGroup);
  command.add_option("--n_kv_heads", n_kv_heads, "Key/value heads; divides n_heads")->group(kGroup);
  command.add_option("--head_dim", head_dim, "Width of a head")->group(kGroup);
  command.add_option("--intermediate_size", intermediate_size, "Width of the MLP")->group(kGroup);
  command.add_option("--rope_theta", rope_theta, "Base of the rotary positions")->group(kGroup);
  command.add_flag("--untied_embeddings", untied_embeddings, "An output head of its own instead of the embedding")
      ->group(kGroup);
}

Result<DecoderConfig> ModelOptions::resolve(std::optional<std::int64_t> data_vocab_size) const {
  VRAMWISE_ASSIGN_OR_RETURN(DecoderConfig config, model_preset(model_size));
  config.vocab_size = vocab_size.value_or(data_vocab_size.value_or(config.vocab_size));
  config.hidden_size = hidden_size.value_or(config.hidden_size);
  config.n_layers = n_layers.value_or(config.n_layers);
  config.n_heads = n_heads.value_or(config.n_heads);
  config.n_kv_heads = n_kv_heads.value_or(config.n_kv_heads);
  config.head_dim = head_dim.value_or(config.head_dim);
  config.intermediate_size = intermediate_size.value_or(config.intermediate_size);
  config.rope_theta = rope_theta.value_or(config.rope_theta);
  config.tie_embeddings = !untied_embeddings;
  VRAMWISE_RETURN_IF_ERROR(validate(config));
  return config;
}

bool ModelOptions::is_given(const CLI::App& command) const {
  const bool dimension = vocab_size || hidden_size || n_layers || n_heads || n_kv_heads || head_dim ||
                         intermediate_size || rope_theta || untied_embeddings;
  return dimension || command.get_option("--model_size")->count() > 0;
}

std::string ModelOptions::name() const {
  const bool changed =
      hidden_size || n_layers || n_heads || n_kv_heads || head_dim || intermediate_size || untied_embeddings;
  return changed ? fmt::format("custom ({})", model_size) : model_size;
}

}  // namespace vramwise::cli
