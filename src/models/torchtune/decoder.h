// torchtune 0.6's TransformerDecoder, as its builders for Llama 3, Qwen2 and Mistral make it: on the device, in the
// type that is trained in.
#pragma once

#include <cstdint>
#include <optional>

#include "models/architecture.h"

namespace vramwise {

/// Which function of torchtune makes the model; they differ in rotary positions, biases and the embeddings' tie.
enum class TuneBuilder : std::uint8_t { kLlama3, kLlama32, kQwen2, kMistral };

struct TuneDecoderConfig {
  TuneBuilder builder = TuneBuilder::kLlama3;
  std::int64_t vocab_size = 0;
  int layers = 0;
  std::int64_t heads = 1;
  std::int64_t kv_heads = 1;
  std::int64_t width = 0;        ///< embed_dim
  std::int64_t inner_width = 0;  ///< intermediate_dim
  std::int64_t max_positions = 0;
  std::optional<double> rope_base = {};  ///< absent: not said
  std::optional<double> norm_eps = {};
  double rope_scale = 1;  ///< scale_factor of Llama3ScaledRoPE
  bool ties_embeddings = false;

  std::int64_t head_dim() const { return width / heads; }
  bool scales_positions() const { return builder == TuneBuilder::kLlama32; }
  bool is_qwen() const { return builder == TuneBuilder::kQwen2; }
};

Architecture tune_architecture(const TuneDecoderConfig& config);

}  // namespace vramwise
