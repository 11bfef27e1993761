// The flags that only train has: data, output folder, optimizer, schedule. Their names are those of RunSpec's fields.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "base/result.h"
#include "run/run_spec.h"

namespace vramwise::cli {

struct RunOptions {
  DataSpec data{.data_dir = "data", .tokenizer = ""};
  std::string out_dir = "out";
  bool resume = false;
  std::string init_from;
  OptimizerSpec optimizer;
  std::optional<double> min_learning_rate;   ///< default: a tenth of learning_rate
  std::optional<std::int64_t> warmup_steps;  ///< default: a tenth of the run, at most 100
  ScheduleSpec schedule;

  void add_to(CLI::App& command);

  /// Copies the options into `spec`. Errors: a value out of its range (the flag is named).
  Status apply_to(RunSpec& spec) const;
};

}  // namespace vramwise::cli
