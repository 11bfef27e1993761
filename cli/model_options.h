// --model_size and a flag for every dimension of the decoder.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "models/decoder.h"

namespace vramwise::cli {

struct ModelOptions {
  std::string model_size = "medium";
  std::optional<std::int64_t> vocab_size;
  std::optional<std::int64_t> hidden_size;
  std::optional<std::int64_t> n_layers;
  std::optional<std::int64_t> n_heads;
  std::optional<std::int64_t> n_kv_heads;
  std::optional<std::int64_t> head_dim;
  std::optional<std::int64_t> intermediate_size;
  std::optional<double> rope_theta;
  bool untied_embeddings = false;

  void add_to(CLI::App& command);

  /// The preset with the given dimensions in place of its own. `data_vocab_size`: what the data needs, where
  /// --vocab_size is not given.
  Result<DecoderConfig> resolve(std::optional<std::int64_t> data_vocab_size) const;

  bool is_given(const CLI::App& command) const;  ///< whether any flag of the model was

  /// "medium", or "custom (medium)" where a dimension differs from the preset.
  std::string name() const;
};

}  // namespace vramwise::cli
