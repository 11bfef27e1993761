// vramwise plan --model config.json --for transformers: the arguments for another trainer than ours.
#pragma once

#include <string>

#include "cli/command.h"
#include "cli/plan_options.h"

namespace vramwise::cli {

struct TrainerChoice {
  std::string model;  ///< config.json, or its folder; empty: vramwise's own decoder
  std::string trainer = "trainer";
};

/// Whether the question is about another trainer than ours.
inline bool asks_for_other(const TrainerChoice& choice) { return !choice.model.empty() || choice.trainer != "trainer"; }

Outcome plan_for_other(const TrainerChoice& choice, const PlanOptions& options, bool as_json);

}  // namespace vramwise::cli
