// --verify of plans for other trainers: the plan's own words, run on emulated cards.
#pragma once

#include "cli/plan_verify.h"
#include "plan/training/documents.h"

namespace vramwise::cli {

/// Trains by the documents of the plan on rows of zeros, as one rank of several; weights are made up. `config`: text of
/// the model's config.json. Errors: the environment's python lacks what the trainer needs; the program fails.
Result<Verification> verify_training(Told told, const std::string& config, std::int64_t sequences, int rank,
                                     const std::string& gpu_spec);

}  // namespace vramwise::cli
