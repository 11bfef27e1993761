// How the subcommands hang together: each file adds one to the app; running it yields an exit code or an Error, which
// main prints.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "base/result.h"

namespace vramwise::cli {

/// Exit codes beside those of ErrorCode (docs/commands.md).
inline constexpr int kExitDone = 0;
inline constexpr int kExitBug = 70;

/// What the chosen subcommand came to: its exit code, or why it failed.
using Outcome = Result<int>;

/// Each adds its subcommand to `app`; when that is chosen, its callback fills `outcome`, which outlives the parse.
void add_detect_command(CLI::App& app, Outcome& outcome);
void add_doctor_command(CLI::App& app, Outcome& outcome);
void add_dryrun_command(CLI::App& app, Outcome& outcome);
void add_explain_command(CLI::App& app, Outcome& outcome);
void add_gpus_command(CLI::App& app, Outcome& outcome);
void add_models_command(CLI::App& app, Outcome& outcome);
void add_estimate_command(CLI::App& app, Outcome& outcome);
void add_plan_command(CLI::App& app, Outcome& outcome);
void add_snapshot_command(CLI::App& app, Outcome& outcome);
void add_synth_command(CLI::App& app, Outcome& outcome);
void add_train_command(CLI::App& app, Outcome& outcome);

}  // namespace vramwise::cli
