// ViTPatchEmbeddings and what CLIP has in its place.

#include "models/vision/patches.h"

#include "tape/ops/convolution.h"
#include "tape/ops/views.h"

namespace vramwise {

PatchConfig read_patches(ConfigReader& reader, const PatchConfig& defaults) {
  constexpr std::int64_t kMostPixels = 1 << 14;
  PatchConfig c;
  c.image_size = reader.dimension("image_size", defaults.image_size, kMostPixels);
  c.patch_size = reader.dimension("patch_size", defaults.patch_size, kMostPixels);
  c.channels = reader.dimension("num_channels", defaults.channels, 1 << 10);
  if (c.patch_size > c.image_size) reader.fail(usage_error("patch_size is larger than image_size"));
  return c;
}

Patches::Patches(ParameterMaker& maker, const char* name, const PatchConfig& config, std::int64_t width, bool has_bias)
    : weight(maker.parameter(name, {width, config.channels, config.patch_size, config.patch_size})),
      bias(has_bias ? maker.parameter(name, {width}) : Tensor()) {}

Tensor Patches::operator()(const Tensor& pixels) const {
  const tape::ConvolutionOptions options{.stride = weight.size(2)};
  return tape::transpose(tape::flatten(tape::conv2d(pixels, weight, bias, options), 2), 1, 2);
}

}  // namespace vramwise
