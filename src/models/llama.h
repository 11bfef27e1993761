// Llama and its kin (transformers 5, models/llama/modeling_llama.py).
#pragma once

#include <cstdint>
#include <memory>

#include "models/causal_lm.h"
#include "tape/tape.h"

namespace vramwise {

struct LlamaConfig {
  std::int64_t vocab_size = 32000;
  std::int64_t hidden_size = 4096;
  std::int64_t intermediate_size = 11008;
  int layers = 32;
  std::int64_t heads = 32;
  std::int64_t kv_heads = 32;
  std::int64_t head_dim = 128;
  bool attention_bias = false;
  bool mlp_bias = false;
  bool ties_embeddings = false;
  double attention_dropout = 0;
};

/// LlamaForCausalLM with weights of `type`, moved to the tape's device.
std::unique_ptr<CausalLm> llama(tape::Tape& tape, const LlamaConfig& config, DType type, const ForwardOptions& options);

}  // namespace vramwise
