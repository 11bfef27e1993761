// The dimensions that decoders with rotary positions share.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/config_reader.h"
#include "models/parts/activation.h"
#include "models/parts/rotary.h"

namespace vramwise {

struct StackConfig {
  std::int64_t vocab_size = 32000;
  std::int64_t hidden_size = 4096;
  std::int64_t intermediate_size = 11008;
  int layers = 32;
  std::int64_t heads = 32;
  std::int64_t kv_heads = 32;
  std::int64_t head_dim = 128;
  std::int64_t max_positions = 0;  ///< 0: not said
  Activation activation = Activation::kSilu;
  bool ties_embeddings = false;
  double attention_dropout = 0;
  bool caps_scores = false;
  std::optional<std::int64_t> sliding_window;     ///< in tokens, of the layers below
  std::vector<bool> sliding_layers;               ///< by layer; empty: none
  RotaryType rotary_type = RotaryType::kDefault;  ///< rope_type
  bool makes_full_mask = true;                    ///< even where all layers slide
  bool makes_sliding_mask = false;                ///< even where no layer slides
  std::int64_t query_width() const { return heads * head_dim; }
  std::int64_t kv_width() const { return kv_heads * head_dim; }
  bool slides(std::size_t layer) const { return !sliding_layers.empty() && sliding_layers[layer]; }
  bool some_slide() const;
  /// All layers have the window, and no other mask is made than theirs.
  void slide_everywhere(std::int64_t window);
};

/// What differs from one architecture to the next in the keys below.
struct StackDefaults {
  std::optional<std::int64_t> kv_heads{};  ///< absent: as many as heads
  std::optional<std::int64_t> head_dim{};  ///< absent: hidden_size / heads
  const char* activation_key = "hidden_act";
  const char* activation = "silu";
  bool ties_embeddings = false;
};

/// Reads the keys that most architectures name alike into `config`, whose values are the defaults.
void read_stack(ConfigReader& reader, StackConfig& config, const StackDefaults& defaults = {});

/// Which layers slide: listed, or else by `slides_by_default`. Needs `sliding_window` where some do.
void read_layer_types(ConfigReader& reader, StackConfig& config, const std::vector<bool>& slides_by_default);

/// The part of each head that turns: a factor of it in rope_parameters or, before transformers 5, beside it.
std::int64_t read_rotary_dim(ConfigReader& reader, const StackConfig& config, double default_factor);

}  // namespace vramwise
