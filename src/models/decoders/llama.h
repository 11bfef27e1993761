// Llama and its kin (transformers 5: models/llama, mistral, qwen2, qwen3): one decoder, whose options come of the
// configuration.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "models/architecture.h"
#include "models/causal_lm.h"
#include "models/config_reader.h"
#include "tape/tape.h"

namespace vramwise {

struct LlamaConfig {
  std::int64_t vocab_size = 32000;
  std::int64_t hidden_size = 4096;
  std::int64_t intermediate_size = 11008;
  std::int64_t max_positions = 0;  ///< 0: not said
  int layers = 32;
  std::int64_t heads = 32;
  std::int64_t kv_heads = 32;
  std::int64_t head_dim = 128;
  bool qkv_bias = false;
  bool output_bias = false;
  bool normalizes_heads = false;  ///< RMS norms of each head's queries and keys (Qwen3)
  bool mlp_bias = false;
  bool ties_embeddings = false;
  double attention_dropout = 0;
  std::optional<std::int64_t> sliding_window;  ///< in tokens, of the layers below
  std::vector<bool> sliding_layers;            ///< by layer; empty: none
  bool makes_full_mask = true;                 ///< even where all layers slide; Mistral then makes the other one only
};

/// LlamaForCausalLM with weights of `type`, moved to the tape's device.
std::unique_ptr<CausalLm> llama(tape::Tape& tape, const LlamaConfig& config, DType type, const ForwardOptions& options);
Architecture llama_architecture(const LlamaConfig& config);

Architecture read_llama(ConfigReader& reader);
Architecture read_mistral(ConfigReader& reader);
Architecture read_qwen2(ConfigReader& reader);
Architecture read_qwen3(ConfigReader& reader);

}  // namespace vramwise
