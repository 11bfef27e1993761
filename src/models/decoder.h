// The decoder-only transformer that `vramwise train` trains, as plain dimensions: what it is made of, not how it
// computes.
//
// RMSNorm before each part, rotary positions, grouped-query attention, SwiGLU, no biases. Names and layout of the
// parameters are those of Llama in Hugging Face transformers, so that a saved model opens there.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "base/result.h"

namespace vramwise {

struct DecoderConfig {
  std::int64_t vocab_size = 256;
  std::int64_t hidden_size = 0;
  std::int64_t n_layers = 0;
  std::int64_t n_heads = 0;
  std::int64_t n_kv_heads = 0;  ///< divides n_heads; each key/value head serves n_heads / n_kv_heads query heads
  std::int64_t head_dim = 0;    ///< even, for rotary positions
  std::int64_t intermediate_size = 0;
  double rope_theta = 10000.0;
  double rms_norm_eps = 1e-5;
  bool tie_embeddings = true;

  bool operator==(const DecoderConfig&) const = default;
};

struct ParameterShape {
  std::string name;                 ///< as in transformers, e.g. "model.layers.0.self_attn.q_proj.weight"
  std::vector<std::int64_t> shape;  ///< linear layers: (out_features, in_features)
  bool decays = true;               ///< weight decay applies: matrices yes, norms no
  std::int64_t count() const;
};

/// The presets in order of size: tiny, small, medium, large.
const std::vector<std::string>& model_sizes();

/// A preset by name, with a vocabulary of bytes. Errors: unknown name (with the nearest one).
Result<DecoderConfig> model_preset(const std::string& name);

/// Errors: a dimension that is not positive, heads that do not divide, an odd head_dim, a size beyond what 64 bits
/// count.
Status validate(const DecoderConfig& config);

/// Every parameter once (a tied output head is the embedding), in the order of the forward pass. `config` must be
/// valid.
std::vector<ParameterShape> parameters(const DecoderConfig& config);

std::int64_t parameter_count(const DecoderConfig& config);

/// config.json of transformers' LlamaForCausalLM. `dtype`: "float32", "bfloat16" or "float16".
Json to_hugging_face_config(const DecoderConfig& config, std::int64_t max_seq_len, const std::string& dtype);

Json to_json(const DecoderConfig& config);
Result<DecoderConfig> decoder_config_from_json(const Json& json);

}  // namespace vramwise
