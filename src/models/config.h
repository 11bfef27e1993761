// A model as its Hugging Face config.json describes it: which architecture, with which dimensions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "models/architecture.h"

namespace vramwise {

struct ModelConfig {
  std::string model_type;  ///< as config.json names it: "llama", "qwen2"
  Architecture architecture;
  std::optional<DType> saved_dtype;  ///< of the checkpoint: "dtype" or "torch_dtype"
  std::int64_t hidden_size = 0;      ///< or what stands for it; 0: config.json has none
};

/// Reads the text of a config.json. `where` (a file's name) begins the message of an error. An architecture that is not
/// modelled is ErrorCode::kIncomplete, with the way out (a dry run) as its remedy.
Result<ModelConfig> parse_model_config(std::string_view text, const std::string& where);

}  // namespace vramwise
