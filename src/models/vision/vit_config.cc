// Keys and defaults of transformers 5: models/vit/configuration_vit.py.

#include <fmt/format.h>

#include <string>

#include "models/parts/classification.h"
#include "models/vision/vit.h"

namespace vramwise {
namespace {

VitConfig vit_config(ConfigReader& r) {
  VitConfig c;
  const std::string name = r.architecture();
  if (!name.empty() && name != "ViTForImageClassification" && name != "ViTModel")
    r.fail(not_modelled(fmt::format("the head of {} is not modelled", name)));
  c.patches = read_patches(r, c.patches);
  c.hidden_size = r.dimension("hidden_size", c.hidden_size);
  c.intermediate_size = r.dimension("intermediate_size", c.intermediate_size);
  c.layers = r.layers("num_hidden_layers", c.layers);
  c.heads = r.dimension("num_attention_heads", c.heads);
  c.labels = read_label_count(r);
  c.qkv_bias = r.flag("qkv_bias", true);
  c.activation = read_activation(r, "hidden_act", "gelu");
  c.hidden_dropout = r.number("hidden_dropout_prob", 0);
  c.attention_dropout = r.number("attention_probs_dropout_prob", 0);
  if (c.hidden_size % c.heads != 0)
    r.fail(usage_error(fmt::format("num_attention_heads {} does not divide hidden_size {}", c.heads, c.hidden_size)));
  return c;
}

}  // namespace

Architecture read_vit(ConfigReader& reader) {
  const VitConfig c = vit_config(reader);
  return {
      .layers = c.layers,
      .takes = {.texts = false, .image_size = c.patches.image_size},
      .make = [c](tape::Tape& tape, DType type, const ForwardOptions& options) { return vit(tape, c, type, options); }};
}

}  // namespace vramwise
