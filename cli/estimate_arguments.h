// The flags of vramwise estimate.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "cli/estimate_parallel.h"
#include "estimate/training.h"

namespace vramwise::cli {

struct EstimateArguments {
  std::string model;
  std::string gpu;
  TrainingSettings settings;
  std::string precision;
  std::string optimizer = "adamw";
  std::string attention = "sdpa";
  std::string gradient_checkpointing = "none";
  std::string loss = "whole";
  std::string quantize;
  ParallelFlags parallel;
  DeepSpeedFile deepspeed;
  bool no_clip = false;
  bool no_use_cache = false;
  bool expandable_segments = false;
  bool as_json = false;
  std::string html;

  void add_to(CLI::App& command);
};

}  // namespace vramwise::cli
