// An image as a row of patches, each projected by a convolution whose stride is its size.
#pragma once

#include <cstdint>

#include "models/config_reader.h"
#include "models/module.h"

namespace vramwise {

struct PatchConfig {
  std::int64_t image_size = 224;  ///< height and width, in pixels
  std::int64_t patch_size = 16;
  std::int64_t channels = 3;

  std::int64_t patches() const { return (image_size / patch_size) * (image_size / patch_size); }
};

/// Reads image_size, patch_size, num_channels. Fails where patches or images are not square.
PatchConfig read_patches(ConfigReader& reader, const PatchConfig& defaults);

struct Patches {
  Tensor weight;
  Tensor bias;

  Patches() = default;
  Patches(ParameterMaker& maker, const char* name, const PatchConfig& config, std::int64_t width, bool has_bias);
  /// (batch, channels, height, width) → (batch, patches, width), in the weight's type.
  Tensor operator()(const Tensor& pixels) const;
};

}  // namespace vramwise
