// Llama and its kin (transformers 5: models/llama, mistral, qwen2, qwen3, smollm3): one decoder, whose options come of
// the configuration.
#pragma once

#include <vector>

#include "models/architecture.h"
#include "models/config_reader.h"
#include "models/decoders/stack_config.h"

namespace vramwise {

struct LlamaConfig : StackConfig {
  bool qkv_bias = false;
  bool output_bias = false;
  bool normalizes_heads = false;  ///< RMS norms of each head's queries and keys (Qwen3)
  bool mlp_bias = false;
  std::vector<bool> layers_without_rotary;  ///< by layer; empty: none (SmolLM3)

  bool turns(int layer) const {
    return layers_without_rotary.empty() || !layers_without_rotary[static_cast<std::size_t>(layer)];
  }
};

LlamaConfig llama_config(ConfigReader& reader);
LlamaConfig mistral_config(ConfigReader& reader);
LlamaConfig qwen2_config(ConfigReader& reader);
LlamaConfig qwen3_config(ConfigReader& reader);
LlamaConfig smollm3_config(ConfigReader& reader);

/// LlamaForCausalLM.
Architecture llama_architecture(const LlamaConfig& config);

Architecture read_llama(ConfigReader& reader);
Architecture read_mistral(ConfigReader& reader);
Architecture read_qwen2(ConfigReader& reader);
Architecture read_qwen3(ConfigReader& reader);
Architecture read_smollm3(ConfigReader& reader);

}  // namespace vramwise
