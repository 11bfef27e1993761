// Keys and defaults of transformers 5: models/clip/configuration_clip.py.

#include <fmt/format.h>

#include <string>

#include "models/vision/clip.h"

namespace vramwise {
namespace {

ClipTower read_tower(ConfigReader& r, ClipTower c) {
  c.hidden_size = r.dimension("hidden_size", c.hidden_size);
  c.intermediate_size = r.dimension("intermediate_size", c.intermediate_size);
  c.layers = r.layers("num_hidden_layers", c.layers);
  c.heads = r.dimension("num_attention_heads", c.heads);
  c.activation = read_activation(r, "hidden_act", "quick_gelu");
  c.attention_dropout = r.number("attention_dropout", 0);
  if (c.hidden_size % c.heads != 0)
    r.fail(usage_error(fmt::format("num_attention_heads {} does not divide hidden_size {}", c.heads, c.hidden_size)));
  return c;
}

ClipConfig clip_config(ConfigReader& r) {
  ClipConfig c;
  const std::string name = r.architecture();
  if (!name.empty() && name != "CLIPModel") r.fail(not_modelled(fmt::format("{} is not modelled", name)));
  constexpr std::int64_t kOldEnd = 2;
  constexpr std::int64_t kEnd = 49407;
  ConfigReader text = r.inner("text_config");
  c.text = read_tower(text, c.text);
  c.vocab_size = text.dimension("vocab_size", c.vocab_size);
  c.max_positions = text.dimension("max_position_embeddings", c.max_positions);
  c.takes_largest_id = text.count("eos_token_id", kEnd) == kOldEnd;
  r.take_error(text);
  ConfigReader vision = r.inner("vision_config");
  c.vision = read_tower(vision, c.vision);
  c.patches = read_patches(vision, c.patches);
  r.take_error(vision);
  c.projection_size = r.dimension("projection_dim", c.projection_size);
  return c;
}

}  // namespace

Architecture read_clip(ConfigReader& reader) {
  const ClipConfig c = clip_config(reader);
  return {.layers = c.text.layers + c.vision.layers,
          .max_positions = c.max_positions,
          .has_learned_positions = true,
          .takes_sharding = false,
          .takes = {.image_size = c.patches.image_size},
          .make = [c](tape::Tape& tape, DType type, const ForwardOptions& options) {
            return clip(tape, c, type, options);
          }};
}

}  // namespace vramwise
