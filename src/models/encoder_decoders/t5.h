// T5 (transformers 5: models/t5), which writes one text while it reads another.
#pragma once

#include <cstdint>
#include <memory>

#include "models/architecture.h"
#include "models/config_reader.h"
#include "models/parts/activation.h"

namespace vramwise {

struct T5Config {
  std::int64_t vocab_size = 32128;
  std::int64_t width = 512;        ///< d_model
  std::int64_t head_dim = 64;      ///< d_kv; all heads together may be wider than d_model
  std::int64_t inner_size = 2048;  ///< d_ff
  int encoder_layers = 6;
  int decoder_layers = 6;
  std::int64_t heads = 8;
  std::int64_t buckets = 32;  ///< of distances between two tokens, each with a bias of its own
  double dropout = 0.1;
  Activation activation = Activation::kRelu;
  bool is_gated = false;
  bool scales_output = true;  ///< where the file doesn't say that the embeddings are not tied (they always are)
};

Architecture read_t5(ConfigReader& reader);

/// T5ForConditionalGeneration with weights of `type`, moved to the tape's device.
std::unique_ptr<Model> t5(tape::Tape& tape, const T5Config& config, DType type, const ForwardOptions& options);

}  // namespace vramwise
