// CLIPModel with its contrastive loss (transformers 5: models/clip).
#pragma once

#include <cstdint>
#include <memory>

#include "models/architecture.h"
#include "models/config_reader.h"
#include "models/parts/activation.h"
#include "models/vision/patches.h"

namespace vramwise {

/// One of the two encoders.
struct ClipTower {
  std::int64_t hidden_size = 512;
  std::int64_t intermediate_size = 2048;
  int layers = 12;
  std::int64_t heads = 8;
  Activation activation = Activation::kQuickGelu;
  double attention_dropout = 0;
};

struct ClipConfig {
  ClipTower text;
  ClipTower vision{.hidden_size = 768, .intermediate_size = 3072, .heads = 12};
  std::int64_t vocab_size = 49408;
  std::int64_t max_positions = 77;
  bool takes_largest_id = false;  ///< a text ends at its largest id, as in the first checkpoints (eos_token_id 2)
  PatchConfig patches{.patch_size = 32};
  std::int64_t projection_size = 512;
};

Architecture read_clip(ConfigReader& reader);

/// With weights of `type`, moved to the tape's device.
std::unique_ptr<Model> clip(tape::Tape& tape, const ClipConfig& config, DType type, const ForwardOptions& options);

}  // namespace vramwise
