// ResNetForImageClassification (transformers 5: models/resnet).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "models/architecture.h"
#include "models/config_reader.h"
#include "models/parts/activation.h"

namespace vramwise {

struct ResnetConfig {
  std::int64_t channels = 3;
  std::int64_t embedding_size = 64;
  std::vector<std::int64_t> hidden_sizes = {256, 512, 1024, 2048};
  std::vector<std::int64_t> depths = {3, 4, 6, 3};
  bool has_bottlenecks = true;
  bool downsamples_first_stage = false;
  bool downsamples_in_bottleneck = false;
  Activation activation = Activation::kRelu;
  std::int64_t labels = 2;
};

Architecture read_resnet(ConfigReader& reader);

/// With weights of `type`, moved to the tape's device.
std::unique_ptr<Model> resnet(tape::Tape& tape, const ResnetConfig& config, DType type, const ForwardOptions& options);

}  // namespace vramwise
