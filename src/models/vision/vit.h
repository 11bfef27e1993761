// ViTForImageClassification (transformers 5: models/vit).
#pragma once

#include <cstdint>
#include <memory>

#include "models/architecture.h"
#include "models/config_reader.h"
#include "models/parts/activation.h"
#include "models/vision/patches.h"

namespace vramwise {

struct VitConfig {
  PatchConfig patches;
  std::int64_t hidden_size = 768;
  std::int64_t intermediate_size = 3072;
  int layers = 12;
  std::int64_t heads = 12;
  std::int64_t labels = 2;
  bool qkv_bias = true;
  Activation activation = Activation::kGelu;
  double hidden_dropout = 0;
  double attention_dropout = 0;
};

Architecture read_vit(ConfigReader& reader);

/// With weights of `type`, moved to the tape's device.
std::unique_ptr<Model> vit(tape::Tape& tape, const VitConfig& config, DType type, const ForwardOptions& options);

}  // namespace vramwise
