// Keys and defaults of diffusers 0.42: models/unets/unet_2d_condition.py. A UNet's file has no "model_type"; what it is
// stands in "_class_name".

#include <fmt/format.h>

#include <string>

#include "models/diffusion/unet.h"

namespace vramwise {
namespace {

constexpr std::size_t kMostLevels = 16;
constexpr std::int64_t kTextTokens = 77;  // of CLIP, whose text encoders these models have
constexpr std::int64_t kTimeIds = 6;      // Stable Diffusion XL: sizes of the image and of its crop

// What each block of `key` is: whether it attends to the text.
std::vector<bool> attending(ConfigReader& r, const char* key, const char* with, const char* without,
                            std::vector<std::string> names) {
  if (r.has(key)) names = r.texts(key);
  std::vector<bool> attends;
  for (const std::string& name : names) {
    if (name != with && name != without) r.fail(not_modelled(fmt::format("a block of kind {} is not modelled", name)));
    attends.push_back(name == with);
  }
  return attends;
}

// Whatever is not as in Stable Diffusion.
void refuse_the_rest(ConfigReader& r) {
  r.require("mid_block_type", "UNetMidBlock2DCrossAttn", {"UNetMidBlock2DCrossAttn"});
  r.require("act_fn", "silu", {"silu"});
  r.require("resnet_time_scale_shift", "default", {"default"});
  r.require("time_embedding_type", "positional", {"positional"});
  r.require("attention_type", "default", {"default"});
  for (const char* key : {"center_input_sample", "only_cross_attention", "dual_cross_attention", "resnet_skip_time_act",
                          "class_embeddings_concat"})
    if (r.flag(key, false)) r.fail(not_modelled(fmt::format("{} is not modelled", key)));
  for (const char* key : {"encoder_hid_dim_type", "class_embed_type", "num_class_embeds", "time_cond_proj_dim",
                          "time_embedding_dim", "time_embedding_act_fn", "timestep_post_act", "cross_attention_norm",
                          "num_attention_heads", "reverse_transformer_layers_per_block"})
    if (r.has(key)) r.fail(not_modelled(fmt::format("{} is not modelled", key)));
  if (r.number("dropout", 0) != 0) r.fail(not_modelled("dropout in a UNet is not modelled"));
}

void read_levels(ConfigReader& r, UnetConfig& c) {
  const std::vector<std::int64_t> channels =
      r.dimensions("block_out_channels", {320, 640, 1280, 1280}, kMostOfADimension);
  const char* const down = "CrossAttnDownBlock2D";
  const char* const up = "CrossAttnUpBlock2D";
  const std::vector<bool> attends_down =
      attending(r, "down_block_types", down, "DownBlock2D", {down, down, down, "DownBlock2D"});
  const std::vector<bool> attends_up = attending(r, "up_block_types", up, "UpBlock2D", {"UpBlock2D", up, up, up});
  const std::size_t count = channels.size();
  if (count == 0 || count > kMostLevels || attends_down.size() != count || attends_up.size() != count)
    return r.fail(usage_error("block_out_channels, down_block_types and up_block_types must have as many entries"));
  const std::vector<std::int64_t> heads = r.for_each("attention_head_dim", 8, count);
  const std::vector<std::int64_t> layers = r.for_each("transformer_layers_per_block", 1, count);
  for (std::size_t i = 0; i < count; ++i) {
    if (channels[i] % heads[i] != 0 || channels[i] % c.groups != 0)
      r.fail(usage_error(
          fmt::format("{} channels are no multiple of {} heads and {} groups", channels[i], heads[i], c.groups)));
    c.levels.push_back({.channels = channels[i],
                        .heads = heads[i],
                        .transformer_layers = layers[i],
                        .attends_down = attends_down[i],
                        .attends_up = attends_up[count - 1 - i]});
  }
}

}  // namespace

Architecture read_unet(ConfigReader& r) {
  UnetConfig c;
  c.groups = r.dimension("norm_num_groups", c.groups, kMostLayers);
  c.in_channels = r.dimension("in_channels", c.in_channels);
  c.out_channels = r.dimension("out_channels", c.out_channels);
  c.layers_per_block = r.dimension("layers_per_block", c.layers_per_block, kMostLayers);
  c.text_width = r.dimension("cross_attention_dim", c.text_width);
  c.projects_linearly = r.flag("use_linear_projection", false);
  if (r.has("addition_embed_type")) {
    r.require("addition_embed_type", "text_time", {"text_time"});
    c.time_ids_width = r.dimension("addition_time_embed_dim", 256);
    c.added_width = r.dimension("projection_class_embeddings_input_dim", 2816);
    if (c.added_width <= kTimeIds * c.time_ids_width)
      r.fail(usage_error("projection_class_embeddings_input_dim leaves no room for the text's embedding"));
  }
  read_levels(r, c);
  refuse_the_rest(r);
  const std::int64_t latents = r.dimension("sample_size", 64, 1 << 14);
  return {.layers = static_cast<int>(c.levels.size()),
          .max_positions = kTextTokens,
          .has_eager = false,
          .takes_lora = false,
          .takes_layers_to_checkpoint = false,
          .takes_sharding = false,
          .takes = {.texts = true, .image_size = latents, .fixed_image_size = false},
          .make = [c](tape::Tape& tape, DType type, const ForwardOptions& options) {
            return unet(tape, c, type, options);
          }};
}

}  // namespace vramwise
