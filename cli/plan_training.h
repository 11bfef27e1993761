// vramwise plan --model config.json --for TRAINER: a configuration for another trainer than ours, in its own words.
#pragma once

#include <string>
#include <vector>

#include "cli/command.h"
#include "cli/plan_options.h"

namespace vramwise::cli {

struct TrainerChoice {
  std::string model;  ///< config.json, or its folder; empty: vramwise's own decoder
  std::string trainer = "trainer";
  std::vector<std::string> fixed;  ///< "knob=value"
  bool shows_knobs = false;
};

/// Whether the question is about another trainer than ours.
inline bool asks_for_other(const TrainerChoice& choice) {
  return !choice.model.empty() || !choice.fixed.empty() || choice.trainer != "trainer" || choice.shows_knobs;
}

/// --for, --model and --knobs.
void add_trainer_options(CLI::App& command, TrainerChoice& choice, const char* group);

struct PlanOutput {
  std::string save;  ///< a file; empty: none
  bool verify = false;
  bool verbose = false;  ///< with what the trainer printed
  bool as_json = false;
};

Outcome plan_for_other(const TrainerChoice& choice, const PlanOptions& options, const PlanOutput& output);

}  // namespace vramwise::cli
