// What a ds_config.json says about memory: https://www.deepspeed.ai/docs/config-json.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
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
  std::optional<std::int64_t> train_batch;  ///< sequences a step, over all ranks
  std::optional<std::int64_t> micro_batch;
  std::optional<std::int64_t> passes;
  bool leaves_micro_batch = false;  ///< "auto"
  bool leaves_passes = false;       ///< likewise
  bool leaves_train_batch = false;  ///< likewise
  bool leaves_bucket = false;       ///< "auto": reduce_bucket_size
  bool leaves_prefetch = false;     ///< likewise stage3_prefetch_bucket_size
  bool leaves_persistence = false;  ///< likewise stage3_param_persistence_threshold
  std::optional<bool> clips;
  std::optional<TrainingOptimizer> optimizer;
  std::set<std::string, std::less<>> told;  ///< of what has a value anyway: keys that the file has
};

/// `where` names the text in errors: kWorld where DeepSpeed would stop at it, kIncomplete where no run was compared
/// with a setting.
Result<DeepSpeedConfig> parse_deepspeed_config(const std::string& text, const std::string& where);

/// What transformers' Trainer puts in the place of sizes that are "auto". Errors: kUsage where the model's hidden size
/// is not known (0).
Status fill_sizes(DeepSpeedConfig& config, std::int64_t hidden_size, const std::string& where);

struct DeepSpeedBatch {
  std::optional<std::int64_t> micro_batch;
  std::optional<std::int64_t> passes;
};
/// What the file says of them, one left out worked out of train_batch_size. `given_…` are what the trainer puts in
/// the place of "auto". Errors: kWorld where the file has no batch, or one that does not multiply out; kUsage where
/// that is due to what is given.
Result<DeepSpeedBatch> share_out_batch(const DeepSpeedConfig& config, std::int64_t ranks,
                                       std::int64_t given_micro_batch, std::int64_t given_passes,
                                       const std::string& where);

}  // namespace vramwise
