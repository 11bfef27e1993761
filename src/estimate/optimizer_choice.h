// The optimizers that an estimate can be asked for, by the names of the command line.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "models/causal_lm.h"
#include "tape/optim/optimizer.h"

namespace vramwise {

/// torch.optim's; Adafactor of transformers as well; those of bitsandbytes.
enum class TrainingOptimizer : std::uint8_t {
  kAdamW,
  kAdamWFused,
  kAdamWLoop,
  kSgd,
  kSgdMomentum,
  kAdafactor,
  kAdafactorTransformers,
  kMuon,  ///< for the matrices of the layers; AdamW for the rest
  kAdamW8bit,
  kPagedAdamW8bit,
  kPagedAdamW,
  kLion,
  kLion8bit,
  kPagedLion,
  kPagedLion8bit,
};

const char* training_optimizer_name(TrainingOptimizer optimizer);  ///< "adamw", "adamw-8bit", "paged-lion-8bit", …
/// Separated by commas, for messages and help.
std::string training_optimizer_names();
Result<TrainingOptimizer> parse_training_optimizer(const std::string& name);

/// Of parameters that lie on the host (CPUOffloadPolicy): those that torch.optim steps there. Null for others.
std::unique_ptr<tape::Optimizer> make_host_optimizer(TrainingOptimizer kind,
                                                     const std::vector<NamedParameter>& parameters);

std::unique_ptr<tape::Optimizer> make_optimizer(TrainingOptimizer kind, const std::vector<NamedParameter>& parameters);

}  // namespace vramwise
