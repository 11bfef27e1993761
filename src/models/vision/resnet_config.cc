// Keys and defaults of transformers 5: models/resnet/configuration_resnet.py.

#include <fmt/format.h>

#include <numeric>
#include <string>

#include "models/parts/classification.h"
#include "models/vision/resnet.h"

namespace vramwise {
namespace {

constexpr std::int64_t kImageSize = 224;  // of ImageNet; the configuration names none

ResnetConfig resnet_config(ConfigReader& r) {
  ResnetConfig c;
  const std::string name = r.architecture();
  if (!name.empty() && name != "ResNetForImageClassification" && name != "ResNetModel")
    r.fail(not_modelled(fmt::format("the head of {} is not modelled", name)));
  c.channels = r.dimension("num_channels", c.channels);
  c.embedding_size = r.dimension("embedding_size", c.embedding_size);
  c.hidden_sizes = r.dimensions("hidden_sizes", c.hidden_sizes, kMostOfADimension);
  c.depths = r.dimensions("depths", c.depths, kMostLayers);
  if (c.depths.size() != c.hidden_sizes.size() || c.depths.size() > 16) {
    r.fail(usage_error("hidden_sizes and depths must have as many entries, 16 at most"));
    c.depths.assign(c.hidden_sizes.size(), 1);
  }
  r.require("layer_type", "bottleneck", {"bottleneck", "basic"});
  c.has_bottlenecks = r.text("layer_type", "bottleneck") == "bottleneck";
  for (const std::int64_t size : c.hidden_sizes)
    if (c.has_bottlenecks && size < 4) r.fail(usage_error("a bottleneck needs at least 4 channels"));
  c.downsamples_first_stage = r.flag("downsample_in_first_stage", false);
  c.downsamples_in_bottleneck = r.flag("downsample_in_bottleneck", false);
  c.activation = read_activation(r, "hidden_act", "relu");
  c.labels = read_label_count(r);
  return c;
}

}  // namespace

Architecture read_resnet(ConfigReader& reader) {
  const ResnetConfig c = resnet_config(reader);
  return {.layers = static_cast<int>(std::accumulate(c.depths.begin(), c.depths.end(), std::int64_t{0})),
          .takes_lora = false,
          .takes_checkpoints = false,
          .takes_sharding = false,
          .takes = {.texts = false, .image_size = kImageSize, .fixed_image_size = false},
          .make = [c](tape::Tape& tape, DType type, const ForwardOptions& options) {
            return resnet(tape, c, type, options);
          }};
}

}  // namespace vramwise
