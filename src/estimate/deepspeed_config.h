// What a ds_config.json says about memory: https://www.deepspeed.ai/docs/config-json.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/result.h"
#include "estimate/optimizer_choice.h"
#include "tape/dtype.h"
#include "tape/parallel/deepspeed.h"

namespace vramwise {

/// Absent is what the file does not say, or leaves to the trainer ("auto").
struct DeepSpeedConfig {
  tape::DeepSpeedOptions options;  ///< but for the ranks; ranks, passes and clipping as below
  std::optional<tape::DType> computed;
  std::optional<std::int64_t> micro_batch;
  std::optional<std::int64_t> passes;
  std::optional<bool> clips;
  std::optional<TrainingOptimizer> optimizer;
};

/// `where` names the text in errors. Settings that no run was compared with are errors (ErrorCode::kIncomplete).
Result<DeepSpeedConfig> parse_deepspeed_config(const std::string& text, const std::string& where);

}  // namespace vramwise
