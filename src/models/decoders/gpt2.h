// GPT-2 (transformers 5, models/gpt2/modeling_gpt2.py).
#pragma once

#include <cstdint>
#include <memory>

#include "models/architecture.h"
#include "models/causal_lm.h"
#include "models/config_reader.h"

namespace vramwise {

struct Gpt2Config {
  std::int64_t vocab_size = 50257;
  std::int64_t max_positions = 1024;
  std::int64_t hidden_size = 768;
  std::int64_t inner_size = 3072;
  int layers = 12;
  std::int64_t heads = 12;
  double embedding_dropout = 0.1;
  double attention_dropout = 0.1;
  double residual_dropout = 0.1;
  bool ties_embeddings = true;
};

/// GPT2LMHeadModel with weights of `type`, moved to the tape's device.
std::unique_ptr<CausalLm> gpt2(tape::Tape& tape, const Gpt2Config& config, DType type, const ForwardOptions& options);

Architecture read_gpt2(ConfigReader& reader);

}  // namespace vramwise
