// UNet2DConditionModel of diffusers 0.42: the network of Stable Diffusion 1, 2 and XL that takes noise out of latents.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "models/architecture.h"
#include "models/config_reader.h"

namespace vramwise {

/// One level of the UNet, on its way down; the way up has the same in reverse, with a layer more.
struct UnetLevel {
  std::int64_t channels = 320;
  std::int64_t heads = 8;               ///< "attention_head_dim" in the file, which means their number
  std::int64_t transformer_layers = 1;  ///< in each of its transformers
  bool attends_down = true;             ///< CrossAttnDownBlock2D
  bool attends_up = true;               ///< CrossAttnUpBlock2D, of the block on the way up that has this level's width
};

struct UnetConfig {
  std::vector<UnetLevel> levels;
  std::int64_t in_channels = 4;
  std::int64_t out_channels = 4;
  std::int64_t layers_per_block = 2;
  std::int64_t groups = 32;
  std::int64_t text_width = 1280;   ///< cross_attention_dim
  bool projects_linearly = false;   ///< use_linear_projection
  std::int64_t time_ids_width = 0;  ///< addition_time_embed_dim of Stable Diffusion XL; 0: there is no such embedding
  std::int64_t added_width = 0;     ///< projection_class_embeddings_input_dim
};

Architecture read_unet(ConfigReader& reader);

/// The UNet with weights of `type`, moved to the tape's device, trained to predict the noise (mean squared error).
std::unique_ptr<Model> unet(tape::Tape& tape, const UnetConfig& config, DType type, const ForwardOptions& options);

}  // namespace vramwise
