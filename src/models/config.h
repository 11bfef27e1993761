// A model as its Hugging Face config.json describes it: which architecture, with which dimensions.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "models/causal_lm.h"
#include "models/gpt2.h"
#include "models/llama.h"

namespace vramwise {

struct ModelConfig {
  std::string model_type;  ///< as config.json names it: "llama", "qwen2"
  std::variant<LlamaConfig, Gpt2Config> architecture;
  std::int64_t max_positions = 0;    ///< tokens; 0: config.json doesn't say
  std::optional<DType> saved_dtype;  ///< of the checkpoint: "dtype" or "torch_dtype"
};

/// Reads the text of a config.json. `where` (a file's name) begins the message of an error. An architecture that is not
/// modelled is ErrorCode::kIncomplete, with the way out (a dry run) as its remedy.
Result<ModelConfig> parse_model_config(std::string_view text, const std::string& where);

/// The values of "model_type" that are modelled, sorted.
std::vector<std::string> known_model_types();

/// The model with weights of `type`, moved to the tape's device.
std::unique_ptr<CausalLm> make_model(tape::Tape& tape, const ModelConfig& config, DType type,
                                     const ForwardOptions& options);

int layers_of(const ModelConfig& config);

}  // namespace vramwise
